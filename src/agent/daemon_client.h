// The command line's side of the local API: requests to the running daemon, answers as JSON. And
// how the command line shows what others wrote. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "http/unix_client.h"

namespace sluice::agent {

// Of one request that waits for news.
inline constexpr uint64_t kLongPollMs = 10'000;

class DaemonClient {
 public:
  explicit DaemonClient(const std::string& state);

  // The daemon's errors come back as they are; kUnreachable when none runs.
  Result<nlohmann::json> get(const std::string& target,
                             std::chrono::milliseconds timeout = std::chrono::seconds(10));
  Result<nlohmann::json> post(const std::string& target, const nlohmann::json& body,
                              std::chrono::milliseconds timeout);
  Result<nlohmann::json> del(const std::string& target, std::chrono::milliseconds timeout);

 private:
  Result<nlohmann::json> request(const char* method, const std::string& target,
                                 const std::string& body, std::chrono::milliseconds timeout);
  http::UnixClient client_;
};

// Control characters as \xNN: names and messages come from others, terminals obey them.
std::string printable(std::string_view text);

// JSON for people and programs: indented, broken UTF-8 replaced.
std::string pretty(const nlohmann::json& value);

// 1234 → "1.2 s", 90000 → "1 min 30 s".
std::string duration_text(uint64_t ms);

}  // namespace sluice::agent
