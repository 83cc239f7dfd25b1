// IPv6 packets as they pass the TUN device (RFC 8200, 9293, 4443). No state, no I/O.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "wire/ip.h"

namespace sluice::agent {

inline constexpr size_t kIp6LeastMtu = 1280;
inline constexpr size_t kTcpHeader = 20;
inline constexpr uint8_t kProtoTcp = 6;

// Fields' offsets.
namespace ip6_field {
inline constexpr size_t kLength = 4, kNext = 6, kHops = 7, kSource = 8, kTarget = 24;
}
namespace tcp_field {
inline constexpr size_t kSequence = 4, kOffset = 12, kFlags = 13, kChecksum = 16;
inline constexpr uint8_t kFin = 0x01, kPsh = 0x08, kAck = 0x10, kCwr = 0x80;
}  // namespace tcp_field

// What stands before each packet on the device (virtio 1.1 section 5.1.6, in the host's byte order;
// the kernel's own header for it is no C++).
struct VnetHeader {
  uint8_t flags = 0;
  uint8_t kind = 0;         // of segmentation that is left to do
  uint16_t head = 0;        // bytes before the payload
  uint16_t segment = 0;     // bytes of payload in each packet
  uint16_t sum_start = 0;   // with kNeedsChecksum: from here to the end,
  uint16_t sum_offset = 0;  // to be stored so far behind it
};
static_assert(sizeof(VnetHeader) == 10);
namespace vnet {
inline constexpr uint8_t kNeedsChecksum = 1;
inline constexpr uint8_t kNone = 0, kTcp6 = 4, kEcn = 0x80;
}  // namespace vnet

// Version 6, and as long as its length field says.
bool is_whole_ip6(Bytes packet);
inline bool is_multicast(const uint8_t* address) {
  return address[0] == 0xff;
}

struct TcpView {
  size_t payload_at;  // from the packet's first byte
  size_t payload_size;
  uint32_t sequence;
  uint8_t flags;
};
// Of a whole packet without extension headers; none: it is not TCP, or not well-formed.
std::optional<TcpView> parse_tcp(Bytes packet);
bool checksum_holds(Bytes packet, size_t transport_at);
// Computes and stores it.
void fill_checksum(MutBytes packet, size_t transport_at, size_t offset);

enum class Unreachable : uint8_t {  // codes of ICMPv6's type 1
  kProhibited = 1,
  kAddress = 3,
};
// What the sender of `packet` is told; empty where nobody may be told: errors and multicasts
// (RFC 4443 section 2.4). It comes from where the packet was going.
Buffer unreachable(Bytes packet, Unreachable code);
Buffer too_big(Bytes packet, uint32_t mtu);

}  // namespace sluice::agent
