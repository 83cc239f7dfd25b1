#include "dataplane/checksum.h"

#include <rte_mbuf.h>

namespace sluice::dataplane {
namespace {

// What a relay changes of a header-sealed packet, from the UDP header on.
constexpr size_t kChanged = wire::kUdpSize + wire::kDataMin;

bool marked_good(const rte_mbuf* m) noexcept {
  return (m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD;
}

uint32_t sum_without_payload(const uint8_t* eth, bool v6, uint16_t size) noexcept {
  const uint8_t* ip = eth + wire::kEthSize;
  const uint8_t* udp = ip + (v6 ? wire::kIp6Size : wire::kIp4Size);
  return wire::checksum_add({udp, kChanged},
                            wire::pseudo_header_sum(ip, v6, wire::kProtoUdp,
                                                    static_cast<uint16_t>(size + wire::kUdpSize)));
}

}  // namespace

void keep_payload_sum(Slot& s) noexcept {
  if (!s.header_seal || !marked_good(s.mbuf)) return;
  fabric::PacketMeta& m = fabric::meta_of(s.mbuf);
  m.payload_sum_known = load_le<uint16_t>(s.outer - 2) != 0;
  // The whole adds up to 0xffff, so what is not the changed part is its complement.
  if (m.payload_sum_known) {
    m.payload_sum = wire::checksum_fold(sum_without_payload(s.frame(), s.v6, s.size));
  }
}

void finish_checksum(Context& c, const PortView& port, Slot& s, uint8_t* eth, bool v6) noexcept {
  rte_mbuf* m = s.mbuf;
  const bool good = marked_good(m);
  m->ol_flags = 0;
  if (!v6 && !c.options.ipv4_udp_checksum) return;
  uint8_t* ip = eth + wire::kEthSize;
  const size_t ip_size = v6 ? wire::kIp6Size : wire::kIp4Size;
  if (v6 && port.tx_udp_checksum) {
    m->l2_len = wire::kEthSize;
    m->l3_len = wire::kIp6Size;
    m->ol_flags = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;
    const uint32_t sum = wire::pseudo_header_sum(ip, true, wire::kProtoUdp,
                                                 static_cast<uint16_t>(s.size + wire::kUdpSize));
    store_le(ip + ip_size + 6, static_cast<uint16_t>(~wire::checksum_fold(sum)));
    return;
  }
  if (!s.header_seal) return wire::finish_udp_checksum(eth, v6, s.size);
  const fabric::PacketMeta& meta = fabric::meta_of(m);
  if (!good || !meta.payload_sum_known) {
    c.counters.checksum_touched.add(1);
    return wire::finish_udp_checksum(eth, v6, s.size);
  }
  const uint16_t sum = wire::checksum_fold(sum_without_payload(eth, v6, s.size) + meta.payload_sum);
  store_le<uint16_t>(ip + ip_size + 6, sum == 0 ? 0xffff : sum);
}

}  // namespace sluice::dataplane
