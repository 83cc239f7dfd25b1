#include "cli/client.h"

#include <cstdio>

#include <fmt/format.h>

#include "http/tls_client.h"
#include "http/unix_client.h"

namespace sluice::cli {

using nlohmann::json;

namespace {

constexpr uint16_t kAdminPort = 7443;  // as the configuration's manual has it

}  // namespace

int Client::report(const Error& e) const {
  if (as_json) {
    fmt::print("{}\n",
               json{{"error", {{"code", info(e.code).name}, {"message", e.message}}}}.dump());
  }
  fmt::print(stderr, "sluicectl: {}\n", e.message);
  return info(e.code).exit_code;
}

Result<http::Response> Client::request(const char* method, const std::string& target,
                                       const std::string& body,
                                       std::chrono::seconds timeout) const {
  if (url.empty()) {
    return http::UnixClient(socket, "sluiced").request(method, target, body, timeout);
  }
  auto there = http::parse_https_url(url, kAdminPort);
  if (!there) return tl::unexpected(there.error());
  there->files = files;
  return http::TlsClient(std::move(*there), "sluiced").request(method, target, body, timeout);
}

Result<std::string> Client::fetch(const std::string& target) const {
  auto response = request("GET", target, "", std::chrono::seconds(30));
  if (!response) return tl::unexpected(response.error());
  if (response->status >= 400) return tl::unexpected(http::error_from(*response));
  return std::move(response->body);
}

Result<json> Client::call(const char* method, const std::string& target, const std::string& body,
                          std::chrono::seconds timeout) const {
  const auto response = request(method, target, body, timeout);
  if (!response) return tl::unexpected(response.error());
  json parsed = json::parse(response->body, nullptr, false);
  // An answer with an error may still carry what was reached; the caller prints both.
  if (response->status >= 400 && !parsed.contains("ack_us")) {
    return tl::unexpected(http::error_from(*response));
  }
  if (parsed.is_discarded()) return fail(ErrorCode::kInternal, "sluiced did not answer with JSON");
  return parsed;
}

int Client::show(const std::string& target, const std::function<void(const json&)>& print) const {
  const auto body = call("GET", target);
  if (!body) return report(body.error());
  if (as_json) {
    fmt::print("{}\n", body->dump());
  } else {
    print(*body);
  }
  return 0;
}

int Client::change(const char* target, const json& request,
                   const std::function<std::string(const json&)>& sentence) const {
  const auto body = call("POST", target, request.dump());
  if (!body) return report(body.error());
  fmt::print("{}\n", as_json ? body->dump() : sentence(*body));
  return 0;
}

}  // namespace sluice::cli
