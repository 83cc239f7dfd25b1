// The join string that an operator hands to an agent's host:
//   sluice://host:port/#<relay key, base64url of 32 bytes>[~<the relay's id>][.<token, base64url>]
// The relay's id is its first key, and stands there once it greets with a later one.
// host is a name, an IPv4 address or an [IPv6] address. The token is a secret: no message ever
// quotes the string.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice::agent {

struct Join {
  std::string host;  // IPv6 without its brackets
  uint16_t port = 0;
  ByteArray<32> relay_key{};  // to greet
  ByteArray<32> relay_id{};   // its name in statements
  Buffer token;               // empty: the operator enrols this agent by its DID
};

// One join string; a single line end after it is allowed, nothing else around it.
Result<Join> parse_join(std::string_view text);

// host:port or [host]:port.
std::string to_host_port(const std::string& host, uint16_t port);

}  // namespace sluice::agent
