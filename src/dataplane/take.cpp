// Bursts that do not come from a NIC: what control sends, and what other workers hand over. Both
// waited in a ring, so their session is looked up again before anything else happens to them.
#include <rte_mbuf.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include "base/annotate.h"
#include "base/prefetch.h"
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
  s.port = m.path.port;
  s.next = Next::kTransmit;
}

void frame(Context& c, Slot& s, const PacketMeta& m) noexcept {
  s.outer -= wire::kDataRegion;
  s.size = static_cast<uint16_t>(s.size + wire::kDataRegion);
  s.out = session_of(c, m);
  s.out_index = m.session;
  if (s.out == nullptr) return s.die(DropReason::kStaleFrame);
  s.next = Next::kForward;
}

// A parked call goes through `authorize` as if it had just arrived. Control asks again where it met
// an agent that has moved on.
void approval(Context& c, Slot& s, const PacketMeta& m) noexcept {
  s.outer -= wire::kDataRegion;
  s.size = static_cast<uint16_t>(s.size + wire::kDataRegion);
  s.session_index = m.session;
  s.session = session_of(c, m);
  if (s.session == nullptr ||
      c.tables.agents[s.session->agent].owner.load(std::memory_order_acquire) != c.worker) {
    return s.die(DropReason::kStaleFrame);
  }
  s.approval = m.kind == ParcelKind::kApproved ? Approval::kApproved : Approval::kRefused;
  s.next = Next::kFrame;
}

void take_one(Context& c, Slot& s) noexcept {
  const PacketMeta& m = fabric::meta_of(s.mbuf);
  s.outer = rte_pktmbuf_mtod_offset(s.mbuf, uint8_t*, m.payload_offset);
  s.size = m.payload_size;
  s.sequence = m.sequence;
  s.lane = m.lane;
  s.tos = m.tos;
  s.received_by = m.worker;
  s.port = m.port;
  s.v6 = m.v6;
  s.from_endpoint = m.from_endpoint;
  s.new_mac = m.new_mac;
  s.header_seal = m.header_seal;
  s.session_index = m.session;
  s.window = c.tables.window(m.session, m.lane);
  s.session = session_of(c, m);
  if (s.session == nullptr) return s.die(DropReason::kSessionExpired);
  const fabric::Agent& agent = c.arena.agents()[s.session->agent];
  if (agent.owner.load(std::memory_order_acquire) == c.worker) {
    s.next = Next::kCommit;
  } else if (m.passed_on) {
    s.die(DropReason::kOwnerMoved);
  } else {
    s.passed_on = true;
    s.next = Next::kHandover;
  }
}

}  // namespace

unsigned take_from_control(Context& c, Burst& b) noexcept {
  void* items[fabric::kMaxBurst];
  rte_ring* ring = c.mailboxes.of(c.worker).from_control.get();
  const unsigned n = rte_ring_sc_dequeue_burst(ring, items, c.options.burst, nullptr);
  if (n == 0) return 0;
  c.counters.injected.add(n);
  for (unsigned i = 0; i < n; ++i) {
    taken_over(items[i]);
    Slot& s = b.add(static_cast<rte_mbuf*>(items[i]));
    const PacketMeta& m = fabric::meta_of(s.mbuf);
    s.outer = rte_pktmbuf_mtod_offset(s.mbuf, uint8_t*, m.payload_offset);
    s.size = m.payload_size;
    switch (m.kind) {
      case ParcelKind::kReply:
        reply(c, s, m);
        break;
      case ParcelKind::kApproved:
      case ParcelKind::kRefused:
        approval(c, s, m);
        break;
      default:
        frame(c, s, m);
    }
  }
  return n;
}

unsigned take_handover(Context& c, Burst& b) noexcept {
  void* items[fabric::kMaxBurst];
  rte_ring* ring = c.mailboxes.of(c.worker).handover.get();
  unsigned n = 0;
  {
    const InsideRing inside;
    n = rte_ring_sc_dequeue_burst(ring, items, c.options.burst, nullptr);
  }
  if (n == 0) return 0;
  c.counters.handed_in.add(n);
  // Another core's cache has all of it: the buffer's head, its meta line, and the packet's start.
  for (unsigned i = 0; i < n; ++i) {
    taken_over(items[i]);
    auto* m = static_cast<rte_mbuf*>(items[i]);
    prefetch(m);
    prefetch(&fabric::meta_of(m));
  }
  for (unsigned i = 0; i < n; ++i) {
    auto* m = static_cast<rte_mbuf*>(items[i]);
    const PacketMeta& meta = fabric::meta_of(m);
    const uint8_t* outer = rte_pktmbuf_mtod_offset(m, uint8_t*, meta.payload_offset);
    prefetch(outer - wire::kEthSize);
    prefetch(outer + wire::kDataRegion);
    prefetch(&c.arena.sessions()[meta.session]);
    c.arena.window(meta.session, meta.lane).prefetch(meta.sequence);
  }
  for (unsigned i = 0; i < n; ++i) take_one(c, b.add(static_cast<rte_mbuf*>(items[i])));
  return n;
}

// From here on the new owner acts, as soon as it has loaded its own number; this worker does not.
void take_moves(Context& c) noexcept {
  fabric::Move move{};
  rte_ring* ring = c.mailboxes.of(c.worker).moves.get();
  while (rte_ring_sc_dequeue_elem(ring, &move, sizeof move) == 0) {
    fabric::Agent& agent = c.arena.agents()[move.agent];
    if (agent.owner.load(std::memory_order_relaxed) != c.worker) continue;
    // What waits for a signature is committed here. Control asks again, if packets go on straying.
    if (agent.waiting_opens != 0 || agent.waiting_data != 0) continue;
    agent.stray_run = 0;
    agent.owner.store(move.to, std::memory_order_release);
    c.counters.moved.add(1);
  }
}

}  // namespace sluice::dataplane
