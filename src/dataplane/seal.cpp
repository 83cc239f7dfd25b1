#include <rte_mbuf.h>

#include "dataplane/checksum.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;

// Headers of the path, prebuilt, into the room before the tunnel's header. They and the tunnel's
// header are final before the AEAD; only a UDP checksum may follow it.
bool address(const Tables& t, uint8_t dscp, Slot& s) noexcept {
  const uint8_t tos = static_cast<uint8_t>(dscp << 2 | (s.tos & 3));  // ECN stays
  uint8_t* outer = s.outer;
  const uint16_t payload = s.size;
  rte_mbuf* m = s.mbuf;
  size_t size = 0;
  uint8_t port = 0;
  if (!s.to_meta_path) [[likely]] {
    const uint64_t last =
        s.out->endpoint.write_headers_before(outer, payload, tos, s.out->endpoint_sequence);
    if (last == 0) {
      s.die(DropReason::kPeerOffline);
      return false;
    }
    size = last >> 56;
    port = static_cast<uint8_t>(last >> 48);
  } else {
    const wire::PathHeader& path = fabric::meta_of(m).path;
    size = path.size;
    port = path.port;
    wire::write_headers(outer - size, path, payload, tos);
  }
  const size_t length = payload + size;
  if (length - wire::kEthSize > t.mtus[port]) {
    s.die(DropReason::kMtu);
    return false;
  }
  m->data_off = static_cast<uint16_t>(outer - size - static_cast<uint8_t*>(m->buf_addr));
  m->data_len = static_cast<uint16_t>(length);
  m->pkt_len = static_cast<uint32_t>(length);
  s.port = port;
  s.v6 = size != wire::kEthSize + wire::kIp4Size + wire::kUdpSize;
  return true;
}

// `counters`: this worker's lane, in the bits above the sequence.
bool prepare(const Tables& t, uint64_t counters, uint8_t dscp, Slot& s) noexcept {
  uint64_t& lane = t.lanes[s.out_index];
  const uint64_t sequence = lane;
  if (sequence >= t.lane_limit) {
    s.die(DropReason::kNonceExhausted);
    return false;
  }
  if (!address(t, dscp, s)) return false;
  lane = sequence + 1;
  uint8_t* outer = s.outer;
  const uint16_t size = s.size;
  const auto sealed =
      static_cast<uint16_t>(s.header_seal ? sizeof(wire::FrameHeader) : size - wire::kDataRegion);
  const uint32_t receiver = s.out->peer_index;
  if (const uint32_t slot = s.edge; slot != 0) {
    fabric::Edge& edge = t.edges[slot];
    edge.packets.add(1);
    edge.bytes.add(size);
    store_le(outer + wire::kDataRegion + 4, edge.opposite_label);
  }
  wire::write_outer(outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion, sealed, receiver,
                            counters | sequence});
  return true;
}

}  // namespace

void seal(Context& c, Burst& b) noexcept {
  const Tables t = c.tables;
  const uint64_t counters = wire::make_counter(static_cast<uint8_t>(c.worker), 0);
  const uint8_t dscp = c.options.dscp;
  const bool ipv4_checksum = c.options.ipv4_udp_checksum;
  bool any_checksum = false;
  SealWork& work = b.work;
  unsigned count = 0;
  for (Slot& s : b) {
    if (!s.at(Next::kForward) || !prepare(t, counters, dscp, s)) continue;
    work.put(count++, s, s.out->key_out, s.out->salt_out);
    s.next = Next::kTransmit;
    if (s.v6 || ipv4_checksum) {
      any_checksum = true;
    } else {
      s.mbuf->ol_flags = 0;
    }
  }
  c.aead.seal({work.ops, count});
  for (unsigned i = 0; any_checksum && i < count; ++i) {
    Slot& s = *work.slots[i];
    if (s.v6 || ipv4_checksum) {
      finish_checksum(c, c.ports[s.port], s, rte_pktmbuf_mtod(s.mbuf, uint8_t*), s.v6);
    }
  }
}

}  // namespace sluice::dataplane
