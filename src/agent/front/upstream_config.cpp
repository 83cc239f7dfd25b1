#include "agent/front/upstream_config.h"

#include <charconv>

#include <fmt/format.h>

#include "agent/front/route.h"

namespace sluice::agent {

std::string UpstreamUrl::authority() const {
  const std::string name = host.find(':') == std::string::npos ? host : "[" + host + "]";
  return port == 80 ? name : fmt::format("{}:{}", name, port);
}

Result<UpstreamUrl> parse_upstream(std::string_view text) {
  constexpr std::string_view kScheme = "http://";
  const auto refuse = [&](const char* why) {
    return fail(ErrorCode::kUsage,
                fmt::format("the upstream \"{}\" {}; give http://HOST[:PORT][/PATH]", text, why));
  };
  if (text.substr(0, kScheme.size()) != kScheme) return refuse("does not begin with http://");
  std::string_view rest = text.substr(kScheme.size());
  UpstreamUrl out;
  const size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  if (slash != std::string_view::npos) out.path = rest.substr(slash);
  if (out.path.find_first_of("?# ") != std::string::npos)
    return refuse("has a query or a fragment");
  while (!out.path.empty() && out.path.back() == '/') out.path.pop_back();
  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  std::string_view host = authority.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view port = authority.substr(colon + 1);
    const auto [end, ec] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (ec != std::errc() || end != port.data() + port.size() || out.port == 0)
      return refuse("has no port behind its colon");
  }
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  if (host.empty() || host.find_first_of("@[] ") != std::string_view::npos)
    return refuse("names no host");
  out.host = host;
  return out;
}

std::string describe(const UpstreamConfig& config) {
  if (config.egress) return "egress";
  return fmt::format("http://{}{}", config.url.authority(), config.url.path);
}

void make_egress(UpstreamConfig& config) {
  config.egress = true;
  config.strip_authorization = true;
  config.strip_cookies = true;
}

Result<wire::CallProtocol> parse_upstream_protocol(std::string_view name) {
  if (name == wire::kProtocolNames[0]) return wire::CallProtocol::kRaw;
  if (const auto protocol = protocol_of(name)) return *protocol;
  return fail(ErrorCode::kUsage,
              fmt::format("protocol \"{}\" is none of a2a, mcp, openai-responses, anp, acp; leave "
                          "it out for plain HTTP",
                          name));
}

Result<std::string> parse_prefix(std::string_view path) {
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  if (!path.empty() && path[0] != '/') {
    return fail(ErrorCode::kUsage, fmt::format("path \"{}\" does not begin with a slash", path));
  }
  return std::string(path);
}

}  // namespace sluice::agent
