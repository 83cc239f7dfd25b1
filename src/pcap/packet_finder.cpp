#include "pcap/packet_finder.h"

#include <pcap/pcap.h>

#include <algorithm>

#include <fmt/format.h>

namespace sluice::capture {
namespace {

constexpr size_t kSllSize = 16;   // Linux cooked capture: the protocol stands last
constexpr size_t kSll2Size = 20;  // its second version: first
constexpr uint16_t kVlan = 0x8100, kServiceVlan = 0x88a8;
constexpr size_t kVlanTag = 4;
constexpr size_t kMostTags = 2;
constexpr size_t kLongestPacket = 65'535;

uint16_t ether_type_of_ip(Bytes ip) {
  if (ip.empty()) return 0;
  return ip[0] >> 4 == 4 ? wire::kEtherIp4 : ip[0] >> 4 == 6 ? wire::kEtherIp6 : uint16_t{0};
}

}  // namespace

Result<PacketFinder> PacketFinder::create(int link_type, uint16_t port) {
  switch (link_type) {
    case DLT_EN10MB:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
    case DLT_NULL:
    case DLT_LOOP:
      return PacketFinder(link_type, port);
  }
  const char* name = pcap_datalink_val_to_name(link_type);
  return fail(
      ErrorCode::kRefused,
      fmt::format("captures of link type {} are not read; capture on an Ethernet device, or "
                  "on any",
                  name != nullptr ? name : std::to_string(link_type)));
}

// False: it ends within the link layer. An EtherType that is not IP's is found out later.
bool PacketFinder::find_ip(Bytes p, uint16_t& ether_type, size_t& offset) const {
  switch (link_type_) {
    case DLT_EN10MB:
      offset = wire::kEthSize;
      if (p.size() < offset) return false;
      ether_type = load_be16(p.data() + 12);
      break;
    case DLT_LINUX_SLL:
      offset = kSllSize;
      if (p.size() < offset) return false;
      ether_type = load_be16(p.data() + 14);
      break;
    case DLT_LINUX_SLL2:
      offset = kSll2Size;
      if (p.size() < offset) return false;
      ether_type = load_be16(p.data());
      break;
    case DLT_NULL:
    case DLT_LOOP:  // an address family, whose number differs from system to system
      offset = 4;
      if (p.size() < offset) return false;
      ether_type = ether_type_of_ip(p.subspan(offset));
      return true;
    default:
      offset = 0;
      ether_type = ether_type_of_ip(p);
      return true;
  }
  for (size_t tags = 0; tags < kMostTags; ++tags) {
    if (ether_type != kVlan && ether_type != kServiceVlan) break;
    if (p.size() < offset + kVlanTag) return false;
    ether_type = load_be16(p.data() + offset + 2);
    offset += kVlanTag;
  }
  return true;
}

Found PacketFinder::find(Bytes captured, size_t wire_size, TunnelPacket& out) {
  uint16_t ether_type = 0;
  size_t ip = 0;
  if (!find_ip(captured, ether_type, ip)) return Found::kOther;
  // As an Ethernet frame of its own. What the capture cut off is made up for by zeros: its headers
  // still tell whether it is one of the tunnel's.
  const size_t missing = wire_size > captured.size() ? wire_size - captured.size() : 0;
  const size_t size = std::min(captured.size() - ip + missing, kLongestPacket);
  frame_.assign(wire::kEthSize + size, 0);
  store_be16(frame_.data() + 12, ether_type);
  const Bytes there = captured.subspan(ip);
  std::copy_n(there.begin(), std::min(size, there.size()),
              frame_.begin() + std::ptrdiff_t(wire::kEthSize));
  wire::IpView view;
  if (wire::parse_ip(frame_, kLongestPacket, view) != wire::IpVerdict::kUdp) return Found::kOther;

  const uint8_t* header = frame_.data() + wire::kEthSize;
  const uint8_t* udp = frame_.data() + view.l4_offset;
  out.v6 = view.v6;
  out.from = view.v6 ? take<16>(header + 8) : wire::mapped_ip4(header + 12);
  out.to = view.v6 ? take<16>(header + 24) : wire::mapped_ip4(header + 16);
  out.from_port = load_be16(udp);
  out.to_port = load_be16(udp + 2);
  out.to_relay = out.to_port == port_;
  out.ip_offset = ip;
  out.payload_offset = ip + view.payload_offset - wire::kEthSize;
  out.payload_size = view.payload_size;
  if (!out.to_relay && out.from_port != port_) return Found::kOther;
  const bool whole = out.payload_offset + out.payload_size <= captured.size();
  return whole ? Found::kTunnel : Found::kTruncated;
}

void mend_checksum(MutBytes captured, const TunnelPacket& packet) {
  uint8_t* udp = captured.data() + packet.payload_offset - wire::kUdpSize;
  store_le<uint16_t>(udp + 6, 0);
  if (!packet.v6) return;
  const auto size = static_cast<uint16_t>(packet.payload_size + wire::kUdpSize);
  const uint16_t sum = wire::checksum_fold(wire::checksum_add(
      {udp, size},
      wire::pseudo_header_sum(captured.data() + packet.ip_offset, true, wire::kProtoUdp, size)));
  store_le<uint16_t>(udp + 6, sum == 0 ? 0xffff : sum);
}

}  // namespace sluice::capture
