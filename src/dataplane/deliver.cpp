#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using fabric::ParcelKind;

void fill_meta(const Context& c, const Slot& s, ParcelKind kind) noexcept {
  fabric::PacketMeta& m = fabric::meta_of(s.mbuf);
  m.path = s.path;
  m.sequence = s.sequence;
  m.session = s.session_index;
  m.generation = s.session != nullptr ? s.session->generation : 0;
  m.payload_offset = static_cast<uint16_t>(s.outer - rte_pktmbuf_mtod(s.mbuf, uint8_t*));
  m.payload_size = s.size;
  m.kind = kind;
  m.lane = s.lane;
  m.worker = static_cast<uint8_t>(c.worker);
  m.tos = s.tos;
  m.from_endpoint = s.from_endpoint;
  m.new_mac = s.new_mac;
}

rte_ring* punt_ring(fabric::Mailbox& box, ParcelKind kind) noexcept {
  switch (kind) {
    case ParcelKind::kRekey:
      return box.rekeys.get();
    case ParcelKind::kFrame:
      return box.frames.get();
    default:
      return box.hellos.get();
  }
}

void punt(Context& c, Slot& s) noexcept {
  fill_meta(c, s, s.punt);
  if (rte_ring_sp_enqueue(punt_ring(c.mailboxes.of(c.worker), s.punt), s.mbuf) != 0) {
    return s.die(DropReason::kPuntFull);
  }
  s.mbuf = nullptr;
  c.counters.punted.add(1);
}

void hand_over(Context& c, Slot& s) noexcept {
  const uint32_t owner = c.arena.agents()[s.session->agent].owner.load(std::memory_order_acquire);
  fill_meta(c, s, ParcelKind::kData);
  if (rte_ring_mp_enqueue(c.mailboxes.of(owner).handover.get(), s.mbuf) != 0) {
    return s.die(DropReason::kHandoverFull);
  }
  s.mbuf = nullptr;
  c.counters.handed_out.add(1);
}

// What the NIC does not take dies here and now: a packet kept for later would outlive the
// authorisation it was given in this round.
void transmit(Context& c, Burst& b, uint8_t port) noexcept {
  rte_mbuf* mbufs[fabric::kMaxBurst];
  Slot* of[fabric::kMaxBurst];
  uint32_t length[fabric::kMaxBurst];
  uint16_t n = 0;
  for (Slot& s : b) {
    if (!s.at(Next::kTransmit) || s.out_port != port) continue;
    mbufs[n] = s.mbuf;
    length[n] = s.mbuf->pkt_len;
    of[n++] = &s;
  }
  if (n == 0) return;
  const uint16_t sent =
      rte_eth_tx_burst(c.ports[port].dpdk_id, static_cast<uint16_t>(c.worker), mbufs, n);
  uint64_t bytes = 0, forwarded = 0;
  for (uint16_t i = 0; i < n; ++i) {
    if (i >= sent) {
      of[i]->die(DropReason::kTxFull);
      continue;
    }
    bytes += length[i];
    forwarded += of[i]->agents_data ? 1 : 0;
    of[i]->mbuf = nullptr;
  }
  c.counters.tx_packets.add(sent);
  c.counters.tx_bytes.add(bytes);
  c.counters.forwarded.add(forwarded);
}

}  // namespace

void deliver(Context& c, Burst& b) noexcept {
  uint32_t ports_used = 0;
  static_assert(fabric::kMaxPorts <= 32);
  for (Slot& s : b) {
    if (s.at(Next::kPunt))
      punt(c, s);
    else if (s.at(Next::kHandover))
      hand_over(c, s);
    else if (s.at(Next::kTransmit))
      ports_used |= 1u << s.out_port;
  }
  for (; ports_used != 0; ports_used &= ports_used - 1) {
    transmit(c, b, static_cast<uint8_t>(__builtin_ctz(ports_used)));
  }
  for (Slot& s : b) {
    if (s.alive()) continue;
    c.counters.drops[static_cast<size_t>(s.dead)].add(1);
    rte_pktmbuf_free(s.mbuf);
    s.mbuf = nullptr;
  }
  b.count = 0;
}

}  // namespace sluice::dataplane
