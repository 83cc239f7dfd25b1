#include "agent/front/address_policy.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace sluice::agent {
namespace {

namespace ip = boost::asio::ip;

struct Range4 {
  uint32_t first;
  unsigned bits;
  std::string_view what;
};

constexpr uint32_t v4(uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
  return a << 24 | b << 16 | c << 8 | d;
}

// IANA's special-purpose registry, and two addresses by which clouds serve their guests.
constexpr Range4 kRefused4[] = {
    {v4(0, 0, 0, 0), 8, "unspecified"},
    {v4(10, 0, 0, 0), 8, "private"},
    {v4(100, 64, 0, 0), 10, "of a carrier's inside"},
    {v4(127, 0, 0, 0), 8, "loopback"},
    {v4(168, 63, 129, 16), 32, "a cloud's metadata"},
    {v4(169, 254, 169, 254), 32, "a cloud's metadata"},
    {v4(169, 254, 0, 0), 16, "link-local"},
    {v4(172, 16, 0, 0), 12, "private"},
    {v4(192, 0, 0, 0), 24, "reserved for protocols"},
    {v4(192, 0, 2, 0), 24, "for documentation"},
    {v4(192, 31, 196, 0), 24, "reserved for protocols"},
    {v4(192, 52, 193, 0), 24, "reserved for protocols"},
    {v4(192, 88, 99, 0), 24, "a relay of 6to4"},
    {v4(192, 168, 0, 0), 16, "private"},
    {v4(192, 175, 48, 0), 24, "reserved for protocols"},
    {v4(198, 18, 0, 0), 15, "for benchmarks"},
    {v4(198, 51, 100, 0), 24, "for documentation"},
    {v4(203, 0, 113, 0), 24, "for documentation"},
    {v4(224, 0, 0, 0), 4, "multicast"},
    {v4(255, 255, 255, 255), 32, "broadcast"},
    {v4(240, 0, 0, 0), 4, "reserved"},
};

struct Range6 {
  std::array<uint16_t, 3> first;  // what is behind it is zero
  unsigned bits;
  std::string_view what;
};

// Within 2000::/3, outside of which nothing is unicast of the Internet.
constexpr Range6 kRefused6[] = {
    {{0x2001, 0x0000, 0}, 32, "an IPv4 address in another form (Teredo)"},
    {{0x2001, 0x0002, 0}, 48, "for benchmarks"},
    {{0x2001, 0x0db8, 0}, 32, "for documentation"},
    {{0x2001, 0x0000, 0}, 23, "reserved for protocols"},
    {{0x2002, 0x0000, 0}, 16, "an IPv4 address in another form (6to4)"},
    {{0x2620, 0x004f, 0x8000}, 48, "reserved for protocols"},
    {{0x3fff, 0x0000, 0}, 20, "for documentation"},
};

// Outside of it, for a word that says why.
constexpr Range6 kOutside6[] = {
    {{0x0064, 0xff9b, 0}, 32, "an IPv4 address in another form (NAT64)"},
    {{0x0100, 0x0000, 0}, 64, "where packets are dropped"},
    {{0xfc00, 0x0000, 0}, 7, "private"},
    {{0xfe80, 0x0000, 0}, 10, "link-local"},
    {{0xfec0, 0x0000, 0}, 10, "private"},
    {{0xff00, 0x0000, 0}, 8, "multicast"},
};

bool within(const ip::address_v6::bytes_type& address, const Range6& range) {
  for (unsigned bit = 0; bit < range.bits; bit += 8) {
    const size_t at = bit / 8;
    const uint16_t word = at / 2 < range.first.size() ? range.first[at / 2] : uint16_t{0};
    const auto wanted = static_cast<uint8_t>(at % 2 == 0 ? word >> 8 : word & 0xff);
    const unsigned left = std::min(range.bits - bit, 8u);
    const auto mask = static_cast<uint8_t>(0xff << (8 - left));
    if (((address[at] ^ wanted) & mask) != 0) return false;
  }
  return true;
}

std::optional<std::string_view> refused_v4(uint32_t address) {
  for (const Range4& r : kRefused4) {
    const uint32_t mask = ~uint32_t{0} << (32 - r.bits);
    if (((address ^ r.first) & mask) == 0) return r.what;
  }
  return std::nullopt;
}

std::optional<std::string_view> refused_v6(const ip::address_v6& address) {
  const auto bytes = address.to_bytes();
  const bool no_prefix =
      std::all_of(bytes.begin(), bytes.begin() + 8, [](uint8_t b) { return b == 0; });
  if (no_prefix) {
    if (address.is_unspecified()) return "unspecified";
    if (address.is_loopback()) return "loopback";
    return "an IPv4 address in another form";
  }
  for (const Range6& r : kOutside6) {
    if (within(bytes, r)) return r.what;
  }
  if ((bytes[0] & 0xe0) != 0x20) return "reserved";
  for (const Range6& r : kRefused6) {
    if (within(bytes, r)) return r.what;
  }
  // ISATAP (RFC 5214, 6.1), as a global or a local number.
  const bool isatap =
      (bytes[8] & 0xfd) == 0 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe;
  if (isatap) return "an IPv4 address in another form (ISATAP)";
  return std::nullopt;
}

}  // namespace

std::optional<std::string_view> refused_as(const ip::address& address) {
  if (address.is_v4()) return refused_v4(address.to_v4().to_uint());
  if (address.to_v6().scope_id() != 0) return "of one link alone";
  return refused_v6(address.to_v6());
}

}  // namespace sluice::agent
