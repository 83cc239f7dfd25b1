#include <rte_ethdev.h>
#include <rte_ring.h>

#include "dataplane/credentials.h"
#include "dataplane/latency.h"
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
  given_away(s.mbuf);
  if (rte_ring_sp_enqueue(ring, s.mbuf) != 0) return s.die(DropReason::kPuntFull);
  c.counters.punted.add(1);
}

// All that goes to one other worker, in one go. True if something did not fit.
bool hand_over(Context& c, Burst& b, unsigned owner) noexcept {
  void* mbufs[fabric::kMaxBurst];
  Slot* of[fabric::kMaxBurst];
  unsigned n = 0;
  for (Slot& s : b) {
    if (!s.at(Next::kHandover) || s.out_index != owner) continue;
    fill_meta(s, ParcelKind::kData);
    keep_stamp(b, s);
    given_away(s.mbuf);
    mbufs[n] = s.mbuf;
    of[n++] = &s;
  }
  unsigned taken = 0;
  {
    const InsideRing inside;
    taken = rte_ring_mp_enqueue_burst(c.mailboxes.of(owner).handover.get(), mbufs, n, nullptr);
  }
  for (unsigned i = taken; i < n; ++i) of[i]->die(DropReason::kHandoverFull);
  c.counters.handed_out.add(taken);
  return taken != n;
}

// What leaves through one port, in order.
struct Departing {
  rte_mbuf* mbufs[fabric::kMaxBurst];
  Slot* slots[fabric::kMaxBurst];
  // Of packets that waited: read while they are ours, for the NIC's driver may let go of a packet
  // before it is counted, and the next owner writes there.
  uint64_t received[fabric::kMaxBurst];
  uint16_t count = 0;
  uint64_t bytes = 0;
  uint64_t forwarded = 0;

  void add(const Burst& b, Slot& s) noexcept {
    mbufs[count] = s.mbuf;
    if (b.received == 0) received[count] = fabric::meta_of(s.mbuf).received;
    slots[count++] = &s;
    bytes += s.mbuf->data_len;
    forwarded += s.edge != 0 ? 1 : 0;
    given_away(s.mbuf);
  }
};

// What the NIC does not take dies here and now: a packet kept for later would outlive the
// authorisation it was given in this round. True if that happened.
bool transmit(Context& c, const Burst& b, Departing& d, uint8_t port) noexcept {
  const uint16_t sent =
      rte_eth_tx_burst(c.ports[port].dpdk_id, static_cast<uint16_t>(c.worker), d.mbufs, d.count);
  for (uint16_t i = sent; i < d.count; ++i) {
    Slot& s = *d.slots[i];
    d.bytes -= s.mbuf->data_len;
    d.forwarded -= s.edge != 0 ? 1 : 0;
    s.die(DropReason::kTxFull);
  }
  c.counters.tx_packets.add(sent);
  c.counters.tx_bytes.add(d.bytes);
  c.counters.forwarded.add(d.forwarded);
  if (c.options.latency && d.forwarded != 0) {
    count_latency(c, b, {d.slots, sent}, d.received, d.forwarded);
  }
  return sent != d.count;
}

}  // namespace

void deliver(Context& c, Burst& b) noexcept {
  static_assert(fabric::kMaxPorts <= 32 && fabric::kMaxWorkers <= 64);
  uint32_t more_ports = 0;
  uint64_t owners = 0;
  bool deaths = false;
  uint8_t first_port = 0xff;
  Departing departing;
  for (Slot& s : b) {
    if (s.at(Next::kTransmit)) {
      if (first_port == 0xff) first_port = s.port;
      if (s.port == first_port) {
        departing.add(b, s);
      } else {
        more_ports |= 1u << s.port;
      }
    } else if (!s.alive()) {
      deaths = true;
    } else if (s.next == Next::kWait) {
      keep_stamp(b, s);
      given_away(s.mbuf);
      c.counters.parked.add(1);
    } else if (s.next == Next::kCredential) {
      fabric::drop_buffer(s.mbuf);  // its call was not let through
    } else if (s.next == Next::kHandover) {
      s.out_index = c.tables.agents[s.session->agent].owner.load(std::memory_order_acquire);
      owners |= uint64_t{1} << s.out_index;
    } else {
      punt(c, s);
      deaths = deaths || !s.alive();
    }
  }
  for (; owners != 0; owners &= owners - 1) {
    deaths = hand_over(c, b, static_cast<unsigned>(__builtin_ctzll(owners))) || deaths;
  }
  if (departing.count != 0) deaths = transmit(c, b, departing, first_port) || deaths;
  for (; more_ports != 0; more_ports &= more_ports - 1) {
    const auto port = static_cast<uint8_t>(__builtin_ctz(more_ports));
    Departing other;
    for (Slot& s : b) {
      if (s.at(Next::kTransmit) && s.port == port) other.add(b, s);
    }
    deaths = transmit(c, b, other, port) || deaths;
  }
  for (unsigned i = 0; deaths && i < b.count; ++i) {
    Slot& s = b.slots[i];
    if (s.alive()) continue;
    c.counters.drops[static_cast<size_t>(s.dead)].add(1);
    wipe_unsealed(s);
    fabric::drop_buffer(s.mbuf);
  }
  b.count = 0;
  b.received = 0;
}

}  // namespace sluice::dataplane
