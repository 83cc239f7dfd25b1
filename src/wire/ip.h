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
// endpoint is kept and compared. 64 bytes, one cache line.
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

// The same address and port on both sides, over the same NIC port; the MACs may differ, as they do
// when a gateway's twin takes over.
inline bool same_remote(const PathHeader& a, const PathHeader& b) noexcept {
  constexpr size_t macs = 12;
  return std::memcmp(a.bytes + macs, b.bytes + macs, sizeof(PathHeader) - macs) == 0;
}

PathHeader reply_path(const uint8_t* frame, const IpView& view, uint8_t port) noexcept;

// Writes the headers before a UDP payload of `payload_size` bytes at `at + path.size`. The UDP
// checksum stays 0 (see finish_udp_checksum).
void write_headers(uint8_t* at, const PathHeader& path, uint16_t payload_size,
                   uint8_t tos) noexcept;

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
UdpChecksum check_udp(const uint8_t* frame, const IpView& view) noexcept;

}  // namespace sluice::wire
