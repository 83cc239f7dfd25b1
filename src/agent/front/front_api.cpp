#include "agent/front/front_api.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/front/endpoint.h"
#include "agent/request.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr size_t kMostAllowed = 64;

bool is_server(const std::string& text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Result<std::vector<std::string>> read_hosts(const json& body) {
  std::vector<std::string> out;
  const auto it = body.find("allow");
  if (it == body.end()) return out;
  if (!it->is_array() || it->size() > kMostAllowed)
    return fail(ErrorCode::kUsage,
                fmt::format("\"allow\" is no list of at most {} hosts", kMostAllowed));
  for (const json& host : *it) {
    auto name = parse_host_name(host.is_string() ? host.get<std::string>() : "");
    if (!name) return tl::unexpected(name.error());
    out.push_back(std::move(*name));
  }
  return out;
}

}  // namespace

Result<void> FrontApi::set(const http::Request& request, Instant at) {
  const auto body = parse_body(request);
  if (!body) return tl::unexpected(body.error());
  const auto server = string_field(*body, "server");
  if (!server || !is_server(*server))
    return fail(ErrorCode::kUsage, "\"server\" is not 16 lower-case hex digits");
  const auto protocol = string_field(*body, "protocol");
  if (!protocol) return tl::unexpected(protocol.error());
  UpstreamConfig c;
  const auto known = parse_upstream_protocol(*protocol);
  if (!known) return tl::unexpected(known.error());
  c.protocol = *known;
  const auto egress = flag_field(*body, "egress");
  if (!egress) return tl::unexpected(egress.error());
  if (!*egress) {
    const auto url = string_field(*body, "upstream");
    if (!url) return tl::unexpected(url.error());
    auto parsed = parse_upstream(*url);
    if (!parsed) return tl::unexpected(parsed.error());
    c.url = std::move(*parsed);
  }
  if (body->contains("path")) {
    const auto path = string_field(*body, "path");
    if (!path) return tl::unexpected(path.error());
    auto prefix = parse_prefix(*path);
    if (!prefix) return tl::unexpected(prefix.error());
    c.prefix = std::move(*prefix);
  }
  const auto timeout = number_field(*body, "timeout_s", 1, kLongestUpstreamS, c.timeout_s);
  if (!timeout) return tl::unexpected(timeout.error());
  c.timeout_s = *timeout;
  const auto authorization = flag_field(*body, "strip_authorization");
  if (!authorization) return tl::unexpected(authorization.error());
  const auto cookies = flag_field(*body, "strip_cookies");
  if (!cookies) return tl::unexpected(cookies.error());
  c.strip_authorization = *authorization;
  c.strip_cookies = *cookies;
  if (*egress) {
    auto hosts = read_hosts(*body);
    if (!hosts) return tl::unexpected(hosts.error());
    c.allow = std::move(*hosts);
    make_egress(c);
  }
  return upstreams_.set(*server, request.peer.pid, c, at.us);
}

void FrontApi::handle(const http::Request& request, const http::Respond& respond, Instant at) {
  if (request.method == "POST") {
    const auto done = set(request, at);
    return respond(done ? json_response(json::object()) : http::error_response(done.error()));
  }
  if (request.method == "DELETE") {
    const auto it = request.query.find("server");
    if (it == request.query.end() || !is_server(it->second)) {
      return respond(http::error_response(
          {ErrorCode::kUsage, "server in the query is not 16 lower-case hex digits"}));
    }
    upstreams_.drop(it->second);
    return respond(json_response(json::object()));
  }
  if (request.method != "GET") {
    return respond(http::error_response(
        {ErrorCode::kUsage, fmt::format("there is no {} {}", request.method, request.path)}));
  }
  json rows = json::array();
  for (const UpstreamRow& row : upstreams_.rows()) {
    rows.push_back({{"protocol", wire::name_of(wire::kProtocolNames, uint8_t(row.config.protocol))},
                    {"upstream", describe(row.config)},
                    {"path", row.config.prefix.empty() ? "/" : row.config.prefix},
                    {"kept", row.server.empty() ? "configuration" : "program"},
                    {"calls", row.calls},
                    {"failed", row.failed},
                    {"open", row.open}});
  }
  respond(json_response({{"front", front_ ? json(front_->address()) : json(nullptr)},
                         {"upstreams", std::move(rows)}}));
}

}  // namespace sluice::agent
