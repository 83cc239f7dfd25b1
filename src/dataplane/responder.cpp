// The small responder: ARP (RFC 826), neighbour discovery (RFC 4861) and echo (RFC 792, 4443),
// answered in place and never longer than the question.
#include <rte_mbuf.h>

#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using wire::kEthSize;
using wire::kIp6Size;

constexpr size_t kArpSize = 28;
constexpr uint8_t kSolicitation = 135;
constexpr uint8_t kAdvertisement = 136;
constexpr uint8_t kEcho6Request = 128;
constexpr uint8_t kEcho6Reply = 129;
constexpr size_t kSolicitationSize = 24;
constexpr size_t kLinkLayerOption = 8;

void turn_ethernet(uint8_t* eth, const wire::Mac& mac) noexcept {
  std::memcpy(eth, eth + 6, 6);
  std::memcpy(eth + 6, mac.data(), 6);
}

DropReason answer_arp(const PortView& port, uint8_t* eth, size_t size) noexcept {
  if (size < kEthSize + kArpSize) return DropReason::kRunt;
  uint8_t* arp = eth + kEthSize;
  static constexpr uint8_t kRequest[8] = {0, 1, 8, 0, 6, 4, 0, 1};
  if (std::memcmp(arp, kRequest, sizeof kRequest) != 0) return DropReason::kArpIgnored;
  if (!is_ours(port, arp + 24, false)) return DropReason::kArpIgnored;
  turn_ethernet(eth, port.mac);
  arp[7] = 2;
  uint8_t target[4];
  std::memcpy(target, arp + 24, 4);
  std::memcpy(arp + 18, arp + 8, 10);
  std::memcpy(arp + 8, port.mac.data(), 6);
  std::memcpy(arp + 14, target, 4);
  return DropReason::kNone;
}

void fill_icmp6_checksum(uint8_t* ip, uint8_t* icmp, uint16_t size) noexcept {
  store_le<uint16_t>(icmp + 2, 0);
  const uint32_t pseudo = wire::pseudo_header_sum(ip, true, wire::kProtoIcmp6, size);
  store_le(icmp + 2, wire::checksum_fold(wire::checksum_add({icmp, size}, pseudo)));
}

bool icmp6_checksum_good(const uint8_t* ip, const uint8_t* icmp, uint16_t size) noexcept {
  const uint32_t pseudo = wire::pseudo_header_sum(ip, true, wire::kProtoIcmp6, size);
  return wire::checksum_fold(wire::checksum_add({icmp, size}, pseudo)) == 0;
}

DropReason answer_solicitation(const PortView& port, uint8_t* eth, uint16_t size) noexcept {
  uint8_t* ip = eth + kEthSize;
  uint8_t* icmp = ip + kIp6Size;
  // RFC 4861 §7.1.1: hop limit 255, code 0. The answer carries its link-layer option only if the
  // question did, or it would be the longer one. §7.2.4 allows that for a question sent to us
  // alone; to a group it is duplicate address detection, and nobody else has our address.
  const bool with_option = size == kSolicitationSize + kLinkLayerOption &&
                           icmp[kSolicitationSize] == 1 && icmp[kSolicitationSize + 1] == 1;
  const bool unicast = ip[24] != 0xff;
  if ((!with_option && !(size == kSolicitationSize && unicast)) || ip[7] != 255 || icmp[1] != 0) {
    return DropReason::kNdpIgnored;
  }
  if (!is_ours(port, icmp + 8, true) || ip[8] == 0xff || all_zero({ip + 8, 16})) {
    return DropReason::kNdpIgnored;
  }
  uint8_t target[16];
  std::memcpy(target, icmp + 8, 16);
  turn_ethernet(eth, port.mac);
  std::memcpy(ip + 24, ip + 8, 16);
  std::memcpy(ip + 8, target, 16);
  icmp[0] = kAdvertisement;
  store_be32(icmp + 4, 0x60000000);  // solicited, override
  if (with_option) {
    icmp[kSolicitationSize] = 2;  // target link-layer address
    std::memcpy(icmp + kSolicitationSize + 2, port.mac.data(), 6);
  }
  fill_icmp6_checksum(ip, icmp, size);
  return DropReason::kNone;
}

DropReason answer_icmp6(const PortView& port, uint8_t* eth, const wire::IpView& v) noexcept {
  uint8_t* ip = eth + kEthSize;
  uint8_t* icmp = eth + v.l4_offset;
  if (v.payload_size < 8) return DropReason::kRunt;
  if (!icmp6_checksum_good(ip, icmp, v.payload_size)) return DropReason::kIpMalformed;
  if (icmp[0] == kSolicitation) return answer_solicitation(port, eth, v.payload_size);
  if (icmp[0] != kEcho6Request || icmp[1] != 0 || !is_ours(port, ip + 24, true) || ip[8] == 0xff) {
    return DropReason::kNdpIgnored;
  }
  turn_ethernet(eth, port.mac);
  uint8_t source[16];
  std::memcpy(source, ip + 8, 16);
  std::memcpy(ip + 8, ip + 24, 16);
  std::memcpy(ip + 24, source, 16);
  ip[7] = 64;
  icmp[0] = kEcho6Reply;
  fill_icmp6_checksum(ip, icmp, v.payload_size);
  return DropReason::kNone;
}

DropReason answer_icmp4(const PortView& port, uint8_t* eth, const wire::IpView& v) noexcept {
  uint8_t* ip = eth + kEthSize;
  uint8_t* icmp = eth + v.l4_offset;
  if (v.payload_size < 8) return DropReason::kRunt;
  if (wire::checksum_fold(wire::checksum_add({icmp, v.payload_size}, 0)) != 0) {
    return DropReason::kIpMalformed;
  }
  if (icmp[0] != 8 || icmp[1] != 0 || !is_ours(port, ip + 16, false))
    return DropReason::kIcmpIgnored;
  turn_ethernet(eth, port.mac);
  uint8_t source[4];
  std::memcpy(source, ip + 12, 4);
  std::memcpy(ip + 12, ip + 16, 4);
  std::memcpy(ip + 16, source, 4);
  ip[8] = 64;
  store_le<uint16_t>(ip + 10, 0);
  store_le(ip + 10, wire::checksum_fold(wire::checksum_add({ip, wire::kIp4Size}, 0)));
  icmp[0] = 0;
  store_le<uint16_t>(icmp + 2, 0);
  store_le(icmp + 2, wire::checksum_fold(wire::checksum_add({icmp, v.payload_size}, 0)));
  return DropReason::kNone;
}

}  // namespace

bool is_ours(const PortView& port, const uint8_t* ip, bool v6) noexcept {
  const wire::IpBytes address = v6 ? take<16>(ip) : wire::mapped_ip4(ip);
  for (const auto& a : port.addresses) {
    if (a == address) return true;
  }
  return false;
}

void respond(Context& c, Slot& s, uint8_t port, const wire::IpView& ip,
             wire::IpVerdict verdict) noexcept {
  uint8_t* eth = rte_pktmbuf_mtod(s.mbuf, uint8_t*);
  const PortView& view = c.ports[port];
  DropReason reason = DropReason::kNotUdp;
  if (verdict == wire::IpVerdict::kArp) {
    reason = answer_arp(view, eth, rte_pktmbuf_data_len(s.mbuf));
  } else if (ip.v6 && ip.protocol == wire::kProtoIcmp6) {
    reason = answer_icmp6(view, eth, ip);
  } else if (!ip.v6 && ip.protocol == wire::kProtoIcmp4) {
    reason = answer_icmp4(view, eth, ip);
  }
  if (reason == DropReason::kNone && !c.responder.take(c.now, c.clock.hz())) {
    reason = DropReason::kResponderBudget;
  }
  if (reason != DropReason::kNone) return s.die(reason);
  // Padding behind the datagram is not sent back.
  if (verdict != wire::IpVerdict::kArp) {
    const uint16_t exact = static_cast<uint16_t>(ip.payload_offset + ip.payload_size);
    s.mbuf->data_len = exact;
    s.mbuf->pkt_len = exact;
  }
  c.counters.responses.add(1);
  s.next = Next::kTransmit;
}

}  // namespace sluice::dataplane
