// Ethernet, IPv4, IPv6 and UDP around the tunnel: parsing of what arrives and prebuilt headers of
// what leaves. No state, any thread, no allocation.
// Sources: RFC 791, 8200, 768, 1071 (checksums), 6864 (IPv4 ID of atomic datagrams).
#pragma once

#include "base/bytes.h"

namespace sluice::wire {

inline constexpr size_t kEthSize = 14;
inline constexpr size_t kIp4Size = 20;
inline constexpr size_t kIp6Size = 40;
inline constexpr size_t kUdpSize = 8;
inline constexpr uint16_t kEtherIp4 = 0x0800;
inline constexpr uint16_t kEtherArp = 0x0806;
inline constexpr uint16_t kEtherIp6 = 0x86dd;
inline constexpr uint8_t kProtoIcmp4 = 1;
inline constexpr uint8_t kProtoUdp = 17;
inline constexpr uint8_t kProtoIcmp6 = 58;

using Mac = ByteArray<6>;
using IpBytes = ByteArray<16>;  // IPv4 in its mapped form ::ffff:a.b.c.d

IpBytes mapped_ip4(const uint8_t* four) noexcept;

enum class IpVerdict : uint8_t {
  kUdp,
  kOther,  // ICMP or another protocol; `protocol` says which
  kArp,
  kNotIp,      // an EtherType that is not spoken here
  kRunt,       // ends inside a header
  kMalformed,  // version, header length, header checksum or length field wrong
  kFragment,
  kExtension,  // IPv4 options or IPv6 extension headers
  kGso,        // longer than any frame of this link: segmentation offload's super-frame
};

struct IpView {
  bool v6 = false;
  uint8_t protocol = 0;
  uint8_t tos = 0;              // IPv4 TOS, IPv6 traffic class
  uint16_t l4_offset = 0;       // from the Ethernet header's first byte
  uint16_t payload_offset = 0;  // UDP's payload, or equal to l4_offset
  uint16_t payload_size = 0;    // by UDP's (else IP's) length field, checked against the frame
};

// `frame` is the whole Ethernet frame as received; `mtu` the port's IP MTU.
IpVerdict parse_ip(Bytes frame, uint16_t mtu, IpView& out) noexcept;

// Headers of everything that goes back where a packet came from: Ethernet, IP and UDP with the
// addresses swapped and zeros where length, checksum, TOS and ID go. It is also how a session's
// endpoint is kept and compared. 64 bytes, one cache line. Over IPv4 the two bytes behind the
// headers hold the sum of the IP header as it stands here, so that only what varies is added later.
struct alignas(64) PathHeader {
  uint8_t bytes[62];
  uint8_t port;  // index of the port it came in on
  uint8_t size;  // 42 on IPv4, 62 on IPv6; 0: none

  bool v6() const noexcept { return size == kEthSize + kIp6Size + kUdpSize; }
  // The far side's address and UDP port.
  IpBytes remote_ip() const noexcept;
  uint16_t remote_port() const noexcept;
  friend bool operator==(const PathHeader& a, const PathHeader& b) noexcept {
    return std::memcmp(&a, &b, sizeof(PathHeader)) == 0;
  }
};
static_assert(sizeof(PathHeader) == 64);

// Who sent a frame, in the words that a session keeps of its endpoint: comparing them costs a
// worker no line of memory beyond the session's first. Exact on IPv4; on IPv6 `addresses` folds
// both addresses, so equality there still has to be confirmed with same_remote.
struct SourceTag {
  uint64_t addresses = 0;
  uint64_t mac_port = 0;  // MAC of the neighbour in the low 48 bits, UDP source port above
  uint64_t nic = 0;       // port it came in on, and kV6

  static constexpr uint64_t kV6 = 0x100;

  bool same_remote(const SourceTag& o) const noexcept {
    return ((addresses ^ o.addresses) | (mac_port ^ o.mac_port) >> 48 | (nic ^ o.nic)) == 0;
  }
};
// Of a received UDP frame (Ethernet header first), and of the path back to its sender.
inline SourceTag source_of(const uint8_t* frame, bool v6, uint8_t port) noexcept {
  constexpr uint64_t mac = (uint64_t{1} << 48) - 1;
  SourceTag out;
  out.nic = port | (v6 ? SourceTag::kV6 : 0);
  out.mac_port = load_le<uint64_t>(frame + 6) & mac;
  if (v6) {
    for (size_t i = 0; i < 4; ++i) {
      const uint64_t word = load_le<uint64_t>(frame + kEthSize + 8 + 8 * i);
      out.addresses = (out.addresses << 13 | out.addresses >> 51) ^ word;
    }
    out.mac_port |= uint64_t{load_le<uint16_t>(frame + kEthSize + kIp6Size)} << 48;
  } else {
    out.addresses = load_le<uint64_t>(frame + kEthSize + 12);
    out.mac_port |= uint64_t{load_le<uint16_t>(frame + kEthSize + kIp4Size)} << 48;
  }
  return out;
}
SourceTag source_of(const PathHeader& path) noexcept;

// The same address and port on both sides, over the same NIC port; the MACs may differ, as they do
// when a gateway's twin takes over.
inline bool same_remote(const PathHeader& a, const PathHeader& b) noexcept {
  constexpr size_t macs = 12;
  return std::memcmp(a.bytes + macs, b.bytes + macs, sizeof(PathHeader) - macs) == 0;
}

PathHeader reply_path(const uint8_t* frame, bool v6, uint8_t port) noexcept;
inline PathHeader reply_path(const uint8_t* frame, const IpView& view, uint8_t port) noexcept {
  return reply_path(frame, view.v6, port);
}

// Writes the headers before a UDP payload of `payload_size` bytes at `at + path.size`. The UDP
// checksum stays 0 (see finish_udp_checksum).
void write_headers(uint8_t* at, const PathHeader& path, uint16_t payload_size,
                   uint8_t tos) noexcept;

// The same, ending at `end`, from a path whose eight words `word(i)` delivers one by one, each read
// once and stored at once. Returns the last word: size in its top byte, port in the one below.
template <typename Word>
[[gnu::always_inline]] inline uint64_t write_headers_before(uint8_t* end, Word&& word,
                                                            uint16_t payload_size,
                                                            uint8_t tos) noexcept {
  const uint64_t last = word(7);
  const uint16_t udp_length = static_cast<uint16_t>(payload_size + kUdpSize);
  const uint64_t udp_be = __builtin_bswap16(udp_length);
  uint8_t* at = end - (last >> 56);
  store_le(at, uint64_t{word(0)});
  if (last >> 56 == kEthSize + kIp6Size + kUdpSize) {
    const uint64_t traffic_class = __builtin_bswap16(static_cast<uint16_t>(tos << 4));
    store_le(at + 8, word(1) | traffic_class << 48);
    store_le(at + 16, word(2) | udp_be << 16);
    store_le(at + 24, uint64_t{word(3)});
    store_le(at + 32, uint64_t{word(4)});
    store_le(at + 40, uint64_t{word(5)});
    store_le(at + 48, uint64_t{word(6)});
    store_le(at + 56, static_cast<uint32_t>(last | udp_be << 16));
    store_le(at + 60, static_cast<uint16_t>(last >> 32));
    return last;
  }
  const uint64_t total = __builtin_bswap16(static_cast<uint16_t>(udp_length + kIp4Size));
  const uint64_t w5 = word(5);
  uint64_t sum = (w5 >> 16 & 0xffff) + total + (uint64_t{tos} << 8);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  store_le(at + 8, word(1) | uint64_t{tos} << 56);
  store_le(at + 16, word(2) | total);
  store_le(at + 24, word(3) | (~sum & 0xffff));
  store_le(at + 32, word(4) | udp_be << 48);
  store_le(at + 40, static_cast<uint16_t>(w5));
  return last;
}

// One's-complement sum, not yet complemented or folded.
uint32_t checksum_add(Bytes data, uint32_t sum) noexcept;
uint16_t checksum_fold(uint32_t sum) noexcept;  // folded and complemented, host order of the bytes

// Sum of the UDP or ICMPv6 pseudo header of the packet whose IP header starts at `ip`.
uint32_t pseudo_header_sum(const uint8_t* ip, bool v6, uint8_t protocol, uint16_t l4_size) noexcept;

// Computes UDP's checksum over the packet at `at` (Ethernet header first), in place.
void finish_udp_checksum(uint8_t* at, bool v6, uint16_t payload_size) noexcept;

enum class UdpChecksum : uint8_t { kGood, kAbsent, kUnfilled, kBad };
// kUnfilled: the field holds just the pseudo header's sum, as a sender with checksum offload
// leaves it on a virtual link.
UdpChecksum check_udp(const uint8_t* frame, bool v6, uint16_t payload_size) noexcept;
inline UdpChecksum check_udp(const uint8_t* frame, const IpView& view) noexcept {
  return check_udp(frame, view.v6, view.payload_size);
}

}  // namespace sluice::wire
