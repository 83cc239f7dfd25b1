#include "base/address.h"

#include <cstdio>

namespace sluice {

std::string to_string(VirtualAddress address) {
  char out[24];
  std::snprintf(out, sizeof out, "%u:%04x.%04x", unsigned{address.tenant}, address.node >> 16,
                address.node & 0xffff);
  return out;
}

std::optional<VirtualAddress> parse_virtual_address(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 5) return std::nullopt;
  const std::string_view tenant_text = text.substr(0, colon);
  if (tenant_text.size() > 1 && tenant_text[0] == '0') return std::nullopt;
  uint32_t tenant = 0;
  for (char c : tenant_text) {
    if (c < '0' || c > '9') return std::nullopt;
    tenant = tenant * 10 + uint32_t(c - '0');
  }
  if (tenant > 0xffff) return std::nullopt;

  const std::string_view node_text = text.substr(colon + 1);
  if (node_text.size() != 9 || node_text[4] != '.') return std::nullopt;
  uint32_t node = 0;
  for (size_t i = 0; i < 9; ++i) {
    if (i == 4) continue;
    const char c = node_text[i];
    uint32_t digit = 0;
    if (c >= '0' && c <= '9') {
      digit = uint32_t(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = uint32_t(c - 'a') + 10;
    } else {
      return std::nullopt;
    }
    node = node << 4 | digit;
  }
  return VirtualAddress{static_cast<uint16_t>(tenant), node};
}

}  // namespace sluice
