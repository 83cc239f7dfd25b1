#include <rte_mbuf.h>

#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;

// wire.md §3: both ends stop sending on a key at 2^34 packets. Counted per lane, and a session has
// one lane per worker, so each gets its share of it.
constexpr uint64_t kSequenceLimit = uint64_t{1} << 34;

bool prepare(Context& c, Slot& s, crypto::AeadOp& op) noexcept {
  fabric::Session& out = *s.out;
  uint64_t& lane = c.arena.lane_counter(c.worker, s.out_index);
  if (lane >= kSequenceLimit / c.arena.sizes().workers) {
    s.die(DropReason::kNonceExhausted);
    return false;
  }
  if (s.edge != nullptr) {
    store_le(s.outer + wire::kDataRegion + 4, s.edge->opposite_label);
    s.edge->packets.add(1);
    s.edge->bytes.add(s.size);
  }
  wire::write_outer(s.outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion,
                              static_cast<uint16_t>(s.size - wire::kDataRegion), out.peer_index,
                              wire::make_counter(static_cast<uint8_t>(c.worker), lane++)});
  op.key = &out.key_out;
  op.aad = s.outer;
  op.aad_size = sizeof(wire::OuterHeader);
  op.tag = s.outer + sizeof(wire::OuterHeader);
  op.text = s.outer + wire::kDataRegion;
  op.text_size = static_cast<uint32_t>(s.size - wire::kDataRegion);
  std::memcpy(op.nonce, out.salt_out, 4);
  std::memcpy(op.nonce + 4, s.outer + 8, 8);
  return true;
}

void address(Context& c, Slot& s) noexcept {
  const PortView& port = c.ports[s.out_path.port];
  uint8_t* eth = s.outer - s.out_path.size;
  const uint8_t tos = static_cast<uint8_t>(c.options.dscp << 2 | (s.tos & 3));  // ECN stays
  wire::write_headers(eth, s.out_path, s.size, tos);
  s.mbuf->data_off = static_cast<uint16_t>(eth - static_cast<uint8_t*>(s.mbuf->buf_addr));
  const uint16_t length = static_cast<uint16_t>(s.out_path.size + s.size);
  s.mbuf->data_len = length;
  s.mbuf->pkt_len = length;
  s.mbuf->ol_flags = 0;
  const bool v6 = s.out_path.v6();
  if (v6 && port.tx_udp_checksum) {
    s.mbuf->l2_len = wire::kEthSize;
    s.mbuf->l3_len = wire::kIp6Size;
    s.mbuf->ol_flags = RTE_MBUF_F_TX_IPV6 | RTE_MBUF_F_TX_UDP_CKSUM;
    uint8_t* ip = eth + wire::kEthSize;
    const uint32_t sum = wire::pseudo_header_sum(ip, true, wire::kProtoUdp,
                                                 static_cast<uint16_t>(s.size + wire::kUdpSize));
    store_le(ip + wire::kIp6Size + 6, static_cast<uint16_t>(~wire::checksum_fold(sum)));
  } else if (v6 || c.options.ipv4_udp_checksum) {
    wire::finish_udp_checksum(eth, v6, s.size);
  }
  s.out_port = s.out_path.port;
  s.next = Next::kTransmit;
}

}  // namespace

void seal(Context& c, Burst& b) noexcept {
  crypto::AeadOp ops[fabric::kMaxBurst];
  Slot* of[fabric::kMaxBurst];
  unsigned n = 0;
  for (Slot& s : b) {
    if (s.at(Next::kForward) && prepare(c, s, ops[n])) of[n++] = &s;
  }
  c.aead.seal({ops, n});
  for (unsigned i = 0; i < n; ++i) address(c, *of[i]);
}

}  // namespace sluice::dataplane
