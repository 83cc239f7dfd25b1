#include "agent/front/route.h"

#include <algorithm>

#include <fmt/format.h>

#include "crypto/text.h"
#include "http/url.h"

namespace sluice::agent {
namespace {

constexpr std::string_view kSuffix = ".sluice.localhost";
constexpr const char* kForms =
    "ask for /PEER/PATH, or for /PEER/PROTOCOL/PATH with one of a2a, mcp, openai-responses, anp, "
    "acp";

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

// Without the port.
std::string name_of_host(std::string_view host) {
  const size_t bracket = host.find(']');
  const size_t colon = host.find(':', bracket == std::string_view::npos ? 0 : bracket);
  return lower(host.substr(0, colon));
}

std::string_view port_of(std::string_view host) {
  const size_t colon = host.rfind(':');
  return colon == std::string_view::npos || host.back() == ']' ? "80" : host.substr(colon + 1);
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.substr(text.size() - end.size()) == end;
}

// The first segment of a path that begins with a slash, and what is behind it.
std::pair<std::string_view, std::string_view> split(std::string_view path) {
  const size_t end = path.find_first_of("/?", 1);
  if (end == std::string_view::npos) return {path.substr(1), {}};
  return {path.substr(1, end - 1), path.substr(end)};
}

std::string rooted(std::string_view rest) {
  return rest.empty() || rest[0] != '/' ? "/" + std::string(rest) : std::string(rest);
}

}  // namespace

std::optional<wire::CallProtocol> protocol_of(std::string_view name) {
  if (name == "openai-responses") return wire::CallProtocol::kOpenai;
  for (size_t i = 1; i < std::size(wire::kProtocolNames); ++i) {
    if (name == wire::kProtocolNames[i]) return static_cast<wire::CallProtocol>(i);
  }
  return std::nullopt;
}

bool is_own_host(std::string_view host) {
  const std::string name = name_of_host(host);
  return name == "localhost" || name == "127.0.0.1" || name == "[::1]" || ends_with(name, kSuffix);
}

bool may_ask(std::string_view origin, std::string_view host) {
  const size_t scheme = origin.find("://");
  if (scheme == std::string_view::npos) return false;
  const std::string_view from = origin.substr(scheme + 3);
  return is_own_host(from) && !ends_with(name_of_host(from), kSuffix) &&
         port_of(from) != port_of(host);
}

Result<Route> find_route(std::string_view target, std::string_view host) {
  if (target.empty() || target[0] != '/') {
    return fail(ErrorCode::kUsage, fmt::format("the target is no path: {}", kForms));
  }
  Route out;
  const std::string name = name_of_host(host);
  std::string_view rest = target;
  if (ends_with(name, kSuffix)) {
    const std::string_view labels = std::string_view(name).substr(0, name.size() - kSuffix.size());
    const size_t dot = labels.find('.');
    const auto protocol =
        dot == std::string_view::npos ? std::nullopt : protocol_of(labels.substr(0, dot));
    if (protocol) {
      out.protocol = *protocol;
      out.peer = labels.substr(dot + 1);
      out.target = rooted(rest);
      return out;
    }
    out.peer = labels;
  } else {
    const auto [peer, behind] = split(target);
    const auto decoded = sluice::http::percent_decode(peer);
    if (!decoded || decoded->empty()) {
      return fail(ErrorCode::kUsage, fmt::format("the path names no peer: {}", kForms));
    }
    out.peer = *decoded;
    rest = behind;
  }
  if (!rest.empty() && rest[0] == '/') {
    const auto [segment, behind] = split(rest);
    if (const auto protocol = protocol_of(segment)) {
      out.protocol = *protocol;
      rest = behind;
    }
  }
  out.target = rooted(rest);
  return out;
}

}  // namespace sluice::agent
