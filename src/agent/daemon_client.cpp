#include "agent/daemon_client.h"

#include <fmt/format.h>

#include "agent/state_folder.h"

namespace sluice::agent {

using nlohmann::json;

DaemonClient::DaemonClient(const std::string& state)
    : client_(socket_path(state), "the agent's daemon (sluice-agent up)") {}

Result<json> DaemonClient::request(const char* method, const std::string& target,
                                   const std::string& body, std::chrono::milliseconds timeout) {
  auto response = client_.request(method, target, body, timeout);
  if (!response) return tl::unexpected(response.error());
  if (response->status >= 400) return tl::unexpected(http::error_from(*response));
  json out = json::parse(response->body, nullptr, false);
  if (out.is_discarded()) return fail(ErrorCode::kInternal, "the daemon's answer is not JSON");
  return out;
}

Result<json> DaemonClient::get(const std::string& target, std::chrono::milliseconds timeout) {
  return request("GET", target, "", timeout);
}

Result<json> DaemonClient::post(const std::string& target, const json& body,
                                std::chrono::milliseconds timeout) {
  return request("POST", target, body.dump(-1, ' ', false, json::error_handler_t::replace),
                 timeout);
}

Result<json> DaemonClient::del(const std::string& target, std::chrono::milliseconds timeout) {
  return request("DELETE", target, "", timeout);
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string pretty(const json& value) {
  return value.dump(2, ' ', false, json::error_handler_t::replace);
}

std::string duration_text(uint64_t ms) {
  if (ms < 60'000) return fmt::format("{:.1f} s", double(ms) / 1000);
  const uint64_t s = ms / 1000;
  if (s < 3'600) return fmt::format("{} min {} s", s / 60, s % 60);
  if (s < 86'400) return fmt::format("{} h {} min", s / 3'600, s / 60 % 60);
  return fmt::format("{} d {} h", s / 86'400, s / 3'600 % 24);
}

}  // namespace sluice::agent
