#include "agent/join.h"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "crypto/text.h"
#include "wire/tunnel.h"

namespace sluice::agent {
namespace {

constexpr std::string_view kScheme = "sluice://";
constexpr size_t kTokenMin = 16;

tl::unexpected<Error> refuse(std::string_view what) {
  return fail(ErrorCode::kUsage,
              fmt::format("not a join string (sluice://HOST:PORT/#KEY[~ID][.TOKEN]): {}", what));
}

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_ip(int family, const std::string& text) {
  uint8_t out[16];
  return inet_pton(family, text.c_str(), out) == 1;
}

// RFC 1123 labels; one whose last label is a number must be an IPv4 address.
bool is_host(const std::string& text) {
  if (text.empty() || text.size() > 253) return false;
  size_t begin = 0;
  bool numeric = false;
  while (begin <= text.size()) {
    const size_t end = std::min(text.find('.', begin), text.size());
    const std::string_view label = std::string_view(text).substr(begin, end - begin);
    if (label.empty() || label.size() > 63 || label.front() == '-' || label.back() == '-') {
      return false;
    }
    if (!std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; })) {
      return false;
    }
    numeric = std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
    begin = end + 1;
  }
  return !numeric || is_ip(AF_INET, text);
}

std::optional<uint16_t> parse_port(std::string_view text) {
  if (text.empty() || text.size() > 5 || text.front() == '0') return std::nullopt;
  uint32_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + uint32_t(c - '0');
  }
  return value <= 0xffff ? std::optional(static_cast<uint16_t>(value)) : std::nullopt;
}

std::optional<ByteArray<32>> parse_key(std::string_view text) {
  const auto key = crypto::from_base64url(text);
  if (!key || key->size() != 32 || all_zero(*key)) return std::nullopt;
  return take<32>(key->data());
}

}  // namespace

std::string to_host_port(const std::string& host, uint16_t port) {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

Result<Join> parse_join(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (!text.starts_with(kScheme)) return refuse("it does not begin with sluice://");
  text.remove_prefix(kScheme.size());

  const size_t slash = text.find("/#");
  if (slash == std::string_view::npos) return refuse("/# is missing between address and key");
  const std::string_view authority = text.substr(0, slash);
  const std::string_view fragment = text.substr(slash + 2);

  Join out;
  std::string_view port;
  if (authority.starts_with('[')) {
    const size_t close = authority.find("]:");
    if (close == std::string_view::npos) return refuse("[IPv6]:PORT is not complete");
    out.host = authority.substr(1, close - 1);
    port = authority.substr(close + 2);
    if (!is_ip(AF_INET6, out.host)) return refuse("what stands in brackets is no IPv6 address");
  } else {
    const size_t colon = authority.find(':');
    if (colon == std::string_view::npos) return refuse("the port is missing");
    out.host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
    if (!is_host(out.host)) return refuse("the host is neither a name nor an address");
  }
  const auto port_number = parse_port(port);
  if (!port_number) return refuse("the port is not a number from 1 to 65535");
  out.port = *port_number;

  const size_t dot = fragment.find('.');
  const std::string_view keys = fragment.substr(0, dot);
  const size_t tilde = keys.find('~');
  const auto key = parse_key(keys.substr(0, tilde));
  if (!key) return refuse("the key is not base64url of 32 bytes");
  const auto id = tilde == std::string_view::npos ? key : parse_key(keys.substr(tilde + 1));
  if (!id) return refuse("the relay's id is not base64url of 32 bytes");
  out.relay_key = *key;
  out.relay_id = *id;
  if (dot == std::string_view::npos) return out;
  const auto token = crypto::from_base64url(fragment.substr(dot + 1));
  if (!token || token->size() < kTokenMin || token->size() > wire::kTokenMax) {
    return refuse(
        fmt::format("the token is not base64url of {} to {} bytes", kTokenMin, wire::kTokenMax));
  }
  out.token = *token;
  return out;
}

}  // namespace sluice::agent
