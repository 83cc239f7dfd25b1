// Finds the tunnel's UDP payload in a captured packet: takes the link layer off, whatever it is,
// and leaves the rest to wire/ip.h. One thread; it keeps a copy of the packet under way.
#pragma once

#include "base/error.h"
#include "wire/ip.h"

namespace sluice::capture {

inline constexpr uint16_t kTunnelPort = 7600;

struct TunnelPacket {
  size_t payload_offset = 0;  // in the packet as captured
  size_t payload_size = 0;
  size_t ip_offset = 0;
  bool v6 = false;
  wire::IpBytes from{}, to{};
  uint16_t from_port = 0, to_port = 0;
  bool to_relay = false;
};

enum class Found : uint8_t {
  kOther,      // not UDP to or from the relay's port, or nothing that wire/ip.h takes
  kTunnel,     // `payload` is all there
  kTruncated,  // the capture has only a part of it
};

class PacketFinder {
 public:
  // kRefused: a link type (libpcap's number) in which it does not know where IP begins.
  static Result<PacketFinder> create(int link_type, uint16_t port);

  // `wire_size`: how long the packet was before the capture cut it.
  Found find(Bytes captured, size_t wire_size, TunnelPacket& out);

 private:
  PacketFinder(int link_type, uint16_t port) : link_type_(link_type), port_(port) {}
  bool find_ip(Bytes captured, uint16_t& ether_type, size_t& offset) const;

  int link_type_;
  uint16_t port_;
  Buffer frame_;
};

// After the payload has changed: over IPv4 no checksum, over IPv6 the right one.
void mend_checksum(MutBytes captured, const TunnelPacket& packet);

}  // namespace sluice::capture
