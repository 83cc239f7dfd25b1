// A virtual address: 48 bits, 16-bit tenant and 32-bit node (wire.md §1).
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice {

struct VirtualAddress {
  uint16_t tenant = 0;
  uint32_t node = 0;

  constexpr uint64_t to_u64() const { return uint64_t{tenant} << 32 | node; }
  static constexpr VirtualAddress from_u64(uint64_t v) {
    return {static_cast<uint16_t>(v >> 32), static_cast<uint32_t>(v)};
  }
  friend constexpr auto operator<=>(const VirtualAddress&, const VirtualAddress&) = default;
};

// `7:0001.a3f0`: tenant in decimal without leading zeros, node as eight lower-case hex digits.
std::string to_string(VirtualAddress address);
std::optional<VirtualAddress> parse_virtual_address(std::string_view text);

}  // namespace sluice
