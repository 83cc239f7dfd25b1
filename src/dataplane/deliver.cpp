#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::DropReason;
using fabric::ParcelKind;

fabric::PacketMeta& fill_meta(const Slot& s, ParcelKind kind) noexcept {
  fabric::PacketMeta& m = fabric::meta_of(s.mbuf);
  m.sequence = s.sequence;
  m.session = s.session_index;
  m.generation = s.session != nullptr ? s.session->generation : 0;
  m.payload_offset = static_cast<uint16_t>(s.outer - rte_pktmbuf_mtod(s.mbuf, uint8_t*));
  m.payload_size = s.size;
  m.kind = kind;
  m.lane = s.lane;
  m.worker = s.received_by;
  m.tos = s.tos;
  m.port = s.port;
  m.v6 = s.v6;
  m.from_endpoint = s.from_endpoint;
  m.new_mac = s.new_mac;
  m.header_seal = s.header_seal;
  m.passed_on = s.passed_on;
  return m;
}

void punt(Context& c, Slot& s) noexcept {
  fabric::Mailbox& box = c.mailboxes.of(c.worker);
  rte_ring* ring = box.hellos.get();
  ParcelKind kind = ParcelKind::kHello;
  if (s.next == Next::kPuntRekey) {
    ring = box.rekeys.get();
    kind = ParcelKind::kRekey;
  } else if (s.next == Next::kPuntFrame) {
    ring = box.frames.get();
    kind = ParcelKind::kFrame;
  }
  fill_meta(s, kind).path = s.path();
  if (rte_ring_sp_enqueue(ring, s.mbuf) != 0) return s.die(DropReason::kPuntFull);
  s.mbuf = nullptr;
  c.counters.punted.add(1);
}

// All that goes to one other worker, in one go.
void hand_over(Context& c, Burst& b, unsigned owner) noexcept {
  void* mbufs[fabric::kMaxBurst];
  Slot* of[fabric::kMaxBurst];
  unsigned n = 0;
  for (Slot& s : b) {
    if (!s.at(Next::kHandover) || s.out_index != owner) continue;
    fill_meta(s, ParcelKind::kData);
    mbufs[n] = s.mbuf;
    of[n++] = &s;
  }
  const unsigned taken =
      rte_ring_mp_enqueue_burst(c.mailboxes.of(owner).handover.get(), mbufs, n, nullptr);
  for (unsigned i = 0; i < n; ++i) {
    if (i < taken) {
      of[i]->mbuf = nullptr;
    } else {
      of[i]->die(DropReason::kHandoverFull);
    }
  }
  c.counters.handed_out.add(taken);
}

// What the NIC does not take dies here and now: a packet kept for later would outlive the
// authorisation it was given in this round.
void transmit(Context& c, Burst& b, uint8_t port) noexcept {
  rte_mbuf* mbufs[fabric::kMaxBurst];
  Slot* of[fabric::kMaxBurst];
  uint16_t n = 0;
  uint64_t bytes = 0, forwarded = 0;
  for (Slot& s : b) {
    if (!s.at(Next::kTransmit) || s.port != port) continue;
    mbufs[n] = s.mbuf;
    bytes += s.mbuf->pkt_len;
    forwarded += s.agents_data ? 1 : 0;
    of[n++] = &s;
  }
  if (n == 0) return;
  // Kept apart: a packet that the NIC has taken may be somebody else's already.
  uint16_t lengths[fabric::kMaxBurst];
  for (uint16_t i = 0; i < n; ++i) lengths[i] = mbufs[i]->data_len;
  const uint16_t sent =
      rte_eth_tx_burst(c.ports[port].dpdk_id, static_cast<uint16_t>(c.worker), mbufs, n);
  for (uint16_t i = 0; i < sent; ++i) of[i]->mbuf = nullptr;
  for (uint16_t i = sent; i < n; ++i) {
    bytes -= lengths[i];
    forwarded -= of[i]->agents_data ? 1 : 0;
    of[i]->die(DropReason::kTxFull);
  }
  c.counters.tx_packets.add(sent);
  c.counters.tx_bytes.add(bytes);
  c.counters.forwarded.add(forwarded);
}

}  // namespace

void deliver(Context& c, Burst& b) noexcept {
  uint32_t ports_used = 0;
  uint64_t owners = 0;
  static_assert(fabric::kMaxPorts <= 32 && fabric::kMaxWorkers <= 64);
  for (Slot& s : b) {
    if (!s.alive()) continue;
    switch (s.next) {
      case Next::kTransmit:
        ports_used |= 1u << s.port;
        break;
      case Next::kHandover:
        s.out_index = c.arena.agents()[s.session->agent].owner.load(std::memory_order_acquire);
        owners |= uint64_t{1} << s.out_index;
        break;
      default:
        punt(c, s);
        break;
    }
  }
  for (; owners != 0; owners &= owners - 1) {
    hand_over(c, b, static_cast<unsigned>(__builtin_ctzll(owners)));
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
