// Bursts that do not come from a NIC: what control sends, and what other workers hand over. Both
// waited in a ring, so their session is looked up again before anything else happens to them.
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using fabric::PacketMeta;
using fabric::ParcelKind;

// Null if the session ended, or its slot has another tenant, since `m` was filled.
fabric::Session* session_of(Context& c, const PacketMeta& m) noexcept {
  fabric::Session& session = c.arena.sessions()[m.session];
  const bool live =
      session.state.load(std::memory_order_acquire) != uint32_t(fabric::SessionState::kFree);
  return live && session.generation == m.generation && c.now < session.expires ? &session : nullptr;
}

void reply(Context& c, Slot& s, const PacketMeta& m) noexcept {
  // A WELCOME names its session: it does not leave after that has ended, as it does by revocation.
  if (m.session != 0 && session_of(c, m) == nullptr) return s.die(DropReason::kStaleFrame);
  const bool v6 = m.path.v6();
  uint8_t* eth = s.outer - m.path.size;
  wire::write_headers(eth, m.path, s.size, static_cast<uint8_t>(c.options.dscp << 2));
  if (v6 || c.options.ipv4_udp_checksum) wire::finish_udp_checksum(eth, v6, s.size);
  s.mbuf->data_off = static_cast<uint16_t>(eth - static_cast<uint8_t*>(s.mbuf->buf_addr));
  s.mbuf->data_len = static_cast<uint16_t>(m.path.size + s.size);
  s.mbuf->pkt_len = s.mbuf->data_len;
  s.mbuf->ol_flags = 0;
  s.out_port = m.path.port;
  s.next = Next::kTransmit;
}

void frame(Context& c, Slot& s, const PacketMeta& m) noexcept {
  s.outer -= wire::kDataRegion;
  s.size = static_cast<uint16_t>(s.size + wire::kDataRegion);
  s.out = session_of(c, m);
  s.out_index = m.session;
  if (s.out == nullptr || !s.out->endpoint.read(s.out_path)) return s.die(DropReason::kStaleFrame);
  s.next = Next::kForward;
}

}  // namespace

unsigned take_from_control(Context& c, Burst& b) noexcept {
  void* items[fabric::kMaxBurst];
  rte_ring* ring = c.mailboxes.of(c.worker).from_control.get();
  const unsigned n = rte_ring_sc_dequeue_burst(ring, items, c.options.burst, nullptr);
  c.counters.injected.add(n);
  for (unsigned i = 0; i < n; ++i) {
    Slot& s = b.add(static_cast<rte_mbuf*>(items[i]));
    const PacketMeta& m = fabric::meta_of(s.mbuf);
    s.outer = rte_pktmbuf_mtod_offset(s.mbuf, uint8_t*, m.payload_offset);
    s.size = m.payload_size;
    if (m.kind == ParcelKind::kReply) {
      reply(c, s, m);
    } else {
      frame(c, s, m);
    }
  }
  return n;
}

unsigned take_handover(Context& c, Burst& b) noexcept {
  void* items[fabric::kMaxBurst];
  rte_ring* ring = c.mailboxes.of(c.worker).handover.get();
  const unsigned n = rte_ring_sc_dequeue_burst(ring, items, c.options.burst, nullptr);
  c.counters.handed_in.add(n);
  for (unsigned i = 0; i < n; ++i) {
    Slot& s = b.add(static_cast<rte_mbuf*>(items[i]));
    const PacketMeta& m = fabric::meta_of(s.mbuf);
    s.outer = rte_pktmbuf_mtod_offset(s.mbuf, uint8_t*, m.payload_offset);
    s.size = m.payload_size;
    s.path = m.path;
    s.sequence = m.sequence;
    s.lane = m.lane;
    s.tos = m.tos;
    s.from_endpoint = m.from_endpoint;
    s.new_mac = m.new_mac;
    s.session_index = m.session;
    s.session = session_of(c, m);
    s.next = Next::kCommit;
    if (s.session == nullptr) s.die(DropReason::kSessionExpired);
  }
  return n;
}

}  // namespace sluice::dataplane
