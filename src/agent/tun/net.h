// Virtual addresses as IPv6 addresses (docs/tun.md): fd | 40 bits of the relay's name | tenant (16)
// | zeros (32) | node (32), a unique local address (RFC 4193) whose global ID every agent of the
// relay derives alike. Plain value.
#pragma once

#include <optional>
#include <string>

#include "base/address.h"
#include "base/bytes.h"

namespace sluice::agent {

using Ip6 = ByteArray<16>;

class TunNet {
 public:
  static constexpr unsigned kPrefix = 48;

  // `relay_id`: its name in statements, which outlives its tunnel keys.
  explicit TunNet(const ByteArray<32>& relay_id);

  Ip6 address(VirtualAddress of) const;
  // Of 16 bytes; none: not an address of this net.
  std::optional<VirtualAddress> find(const uint8_t* ip) const;

 private:
  ByteArray<6> prefix_;
};

std::string to_text(const Ip6& ip);

}  // namespace sluice::agent
