// Ethernet frames as a neighbour of the relay sends and reads them: UDP over IPv4 and IPv6, and the
// questions (ARP, neighbour solicitation, echo) that a host on the link must answer.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace oracle {

using Buf = std::vector<uint8_t>;
using Mac = std::array<uint8_t, 6>;
using Ip = std::array<uint8_t, 16>;  // an IPv4 address is the first 4 bytes, the others zero

struct Flow {
  Mac src_mac{}, dst_mac{};
  bool v6 = false;
  Ip src_ip{}, dst_ip{};
  uint16_t src_port = 0, dst_port = 0;
  uint8_t tos = 0;

  // What an answer to this flow looks like.
  Flow reversed() const { return {dst_mac, src_mac, v6, dst_ip, src_ip, dst_port, src_port, tos}; }
};

struct ParsedFrame {
  Flow flow;
  Buf payload;
  uint8_t ttl = 0;
  uint8_t tos = 0;
  bool dont_fragment = false;    // IPv4 only
  bool ip_checksum_ok = false;   // true on IPv6, which has none
  bool udp_checksum_ok = false;  // 0 counts as right on IPv4 and as wrong on IPv6
  bool udp_checksum_absent = false;
};

struct ArpReply {
  Mac src_mac{}, dst_mac{};  // of the Ethernet header
  Mac sender_mac{}, target_mac{};
  Ip sender_ip{}, target_ip{};
};

struct NeighbourAdvertisement {
  Mac src_mac{}, dst_mac{};
  Ip src_ip{}, dst_ip{};
  Ip target{};
  std::optional<Mac> target_mac;  // the target link-layer option
  bool router = false, solicited = false, override_flag = false;
};

struct EchoReply {
  Flow flow;
  uint16_t id = 0, seq = 0;
  Buf data;
  uint8_t ttl = 0;
};

// DF set, TTL 64, all checksums computed.
Buf udp_frame(const Flow& flow, const Buf& payload);
// Not UDP over IP, a fragment, or lengths that disagree: empty. Wrong checksums only show in the
// result.
std::optional<ParsedFrame> parse_udp_frame(const Buf& frame);

// From flow's source, asking for dst_ip; the frame's destination is broadcast or the solicited-node
// group, whatever dst_mac says.
Buf arp_request(const Flow& flow);
Buf neighbour_solicitation(const Flow& flow);
// An echo request; ports are not used.
Buf icmp_echo(const Flow& flow, uint16_t id, uint16_t seq, const Buf& data);

// Empty for anything but a well-formed answer with right checksums.
std::optional<ArpReply> parse_arp_reply(const Buf& frame);
std::optional<NeighbourAdvertisement> parse_neighbour_advertisement(const Buf& frame);
std::optional<EchoReply> parse_echo_reply(const Buf& frame);

}  // namespace oracle
