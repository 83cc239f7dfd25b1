// Requests to the daemon for any number of threads: each has a connection of its own for as long
// as its request lasts, and connections are kept for those that follow. Failures are thrown as the
// library's Error.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/unix_client.h"
#include "sluice/agent.h"

namespace sluice::client {

class Transport {
 public:
  explicit Transport(const std::string& state);

  nlohmann::json get(const std::string& target, Milliseconds timeout = kAnswer);
  nlohmann::json post(const std::string& target, const nlohmann::json& body,
                      Milliseconds timeout = kAnswer);
  void del(const std::string& target);

  static constexpr Milliseconds kAnswer{30'000};
  // Of one question that waits for news; the answer may take as much longer as any other.
  static constexpr Milliseconds kLongPoll{10'000};

 private:
  nlohmann::json request(const char* method, const std::string& target, const std::string& body,
                         Milliseconds timeout);

  std::string path_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<http::UnixClient>> idle_;
};

// Fields of an answer, whatever it is: a text, empty where it is none.
std::string text_of(const nlohmann::json& object, const char* key);
std::string bytes_of(const nlohmann::json& object, const char* key);
uint64_t number_of(const nlohmann::json& object, const char* key);  // 0 where it is none
bool flag_of(const nlohmann::json& object, const char* key);
std::string to_base64(std::string_view bytes);
// The elements of a list; none where it is no list.
const nlohmann::json& rows_of(const nlohmann::json& object, const char* key);
std::vector<std::string> texts_of(const nlohmann::json& object, const char* key);

}  // namespace sluice::client
