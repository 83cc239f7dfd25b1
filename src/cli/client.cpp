#include "cli/client.h"

#include <cstdio>

#include <fmt/format.h>

#include "http/tls_client.h"
#include "http/unix_client.h"
#include "http/url.h"

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
                                       std::string_view body, std::chrono::seconds timeout,
                                       std::string_view content_type) const {
  if (url.empty()) {
    return http::UnixClient(socket, "sluiced").request(method, target, body, timeout, content_type);
  }
  auto there = http::parse_https_url(url, kAdminPort);
  if (!there) return tl::unexpected(there.error());
  there->files = files;
  return http::TlsClient(std::move(*there), "sluiced")
      .request(method, target, body, timeout, content_type);
}

Result<std::string> Client::fetch(const std::string& target) const {
  auto response = request("GET", target, "", std::chrono::seconds(30));
  if (!response) return tl::unexpected(response.error());
  if (response->status >= 400) return tl::unexpected(http::error_from(*response));
  return std::move(response->body);
}

Result<json> Client::parsed(Result<http::Response> response) const {
  if (!response) return tl::unexpected(response.error());
  json out = json::parse(response->body, nullptr, false);
  // An answer with an error may still carry what was reached; the caller prints both.
  if (response->status >= 400 && !out.contains("ack_us")) {
    return tl::unexpected(http::error_from(*response));
  }
  if (out.is_discarded()) return fail(ErrorCode::kInternal, "sluiced did not answer with JSON");
  return out;
}

Result<json> Client::call(const char* method, const std::string& target, const std::string& body,
                          std::chrono::seconds timeout) const {
  return parsed(request(method, target, body, timeout));
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

int Client::change_with(const char* target, const json& about, const crypto::SecretBuffer& secret,
                        const std::function<std::string(const json&)>& sentence,
                        std::chrono::seconds timeout) const {
  const auto body =
      secret.empty()
          ? call("POST", target, about.dump(), timeout)
          : parsed(request("POST",
                           fmt::format("{}?about={}", target, http::percent_encode(about.dump())),
                           as_text(secret.view()), timeout, http::kSecretType));
  if (!body) return report(body.error());
  fmt::print("{}\n", as_json ? body->dump() : sentence(*body));
  return 0;
}

}  // namespace sluice::cli
