#include <rte_mbuf.h>

#include "dataplane/checksum.h"
#include "dataplane/seal_shape.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;

// Headers of the path, prebuilt, into the room before the tunnel's header. They and the tunnel's
// header are final before the AEAD; only a UDP checksum may follow it.
bool address(const Tables& t, uint8_t dscp, Slot& s) noexcept {
  const uint8_t tos = static_cast<uint8_t>(dscp << 2 | (s.tos & 3));  // ECN stays
  rte_mbuf* m = s.mbuf;
  size_t size = 0;
  if (!s.to_meta_path) [[likely]] {
    const uint64_t last =
        s.out->endpoint.write_headers_before(s.outer, s.size, tos, s.out->endpoint_sequence);
    if (last == 0) {
      s.die(DropReason::kPeerOffline);
      return false;
    }
    size = last >> 56;
    s.port = static_cast<uint8_t>(last >> 48);
  } else {
    const wire::PathHeader& path = fabric::meta_of(m).path;
    size = path.size;
    s.port = path.port;
    wire::write_headers(s.outer - size, path, s.size, tos);
  }
  if (s.size + size - wire::kEthSize > t.mtus[s.port]) {
    s.die(DropReason::kMtu);
    return false;
  }
  m->data_off = static_cast<uint16_t>(s.outer - size - static_cast<uint8_t*>(m->buf_addr));
  m->data_len = static_cast<uint16_t>(size + s.size);
  m->pkt_len = m->data_len;
  s.v6 = size != wire::kEthSize + wire::kIp4Size + wire::kUdpSize;
  return true;
}

bool prepare(const Tables& t, unsigned worker, uint8_t dscp, Slot& s) noexcept {
  fabric::Session& out = *s.out;
  uint64_t& lane = t.lanes[s.out_index];
  if (lane >= t.lane_limit) {
    s.die(DropReason::kNonceExhausted);
    return false;
  }
  if (!address(t, dscp, s)) return false;
  if (s.edge != 0) {
    fabric::Edge& edge = t.edges[s.edge];
    store_le(s.outer + wire::kDataRegion + 4, edge.opposite_label);
    edge.packets.add(1);
    edge.bytes.add(s.size);
  }
  const size_t sealed = s.header_seal ? sizeof(wire::FrameHeader) : s.size - wire::kDataRegion;
  wire::write_outer(
      s.outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion, static_cast<uint16_t>(sealed),
                out.peer_index, wire::make_counter(static_cast<uint8_t>(worker), lane++)});
  return true;
}

}  // namespace

void seal(Context& c, Burst& b) noexcept {
  const Tables t = c.tables;
  const unsigned worker = c.worker;
  const uint8_t dscp = c.options.dscp;
  const bool ipv4_checksum = c.options.ipv4_udp_checksum;
  bool any_checksum = false;
  SealWork work;
  for (Slot& s : b) {
    if (!s.at(Next::kForward) || !prepare(t, worker, dscp, s)) continue;
    work.add(s, s.out->key_out, s.out->salt_out);
    s.next = Next::kTransmit;
    if (s.v6 || ipv4_checksum) {
      any_checksum = true;
    } else {
      s.mbuf->ol_flags = 0;
    }
  }
  c.aead.seal({work.ops, work.count});
  if (!any_checksum) return;
  for (unsigned i = 0; i < work.count; ++i) {
    Slot& s = *work.slots[i];
    if (s.v6 || ipv4_checksum) {
      finish_checksum(c, c.ports[s.port], s, rte_pktmbuf_mtod(s.mbuf, uint8_t*), s.v6);
    }
  }
}

}  // namespace sluice::dataplane
