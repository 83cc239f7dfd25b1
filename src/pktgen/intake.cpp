#include "pktgen/intake.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

namespace sluice::pktgen {
namespace {

constexpr unsigned kRoundsPerPoll = 4;
// What a size means.
constexpr uint8_t kNotTraffic = 0, kTraffic = 1, kProbe = 2;

bool is_udp(const uint8_t* eth, bool v6) noexcept {
  return v6 ? load_be16(eth + 12) == wire::kEtherIp6 && eth[wire::kEthSize + 6] == wire::kProtoUdp
            : load_be16(eth + 12) == wire::kEtherIp4 && eth[wire::kEthSize + 9] == wire::kProtoUdp;
}

}  // namespace

Intake::Intake(WorkerContext& context, Sender& sender)
    : c_(context),
      sender_(sender),
      header_size_(c_.options.v6 ? 62 : 42),
      is_traffic_(kSizes),
      seen_(c_.population.agents) {}

void Intake::begin(const Traffic& traffic) {
  std::fill(is_traffic_.begin(), is_traffic_.end(), 0);
  for (uint16_t p : traffic.payloads) is_traffic_[kTunnelSize + p] = kTraffic;
  // Probes are rare, and made to be opened.
  auto& probe = is_traffic_[kTunnelSize + kProbePayload];
  if (traffic.probe_every != 0 && probe == kNotTraffic) probe = kProbe;
  open_every_ = traffic.open_every;
  until_open_ = traffic.open_every == 0 ? 0 : 1;
  counting_ = true;
}

bool Intake::poll() noexcept {
  bool any = false;
  for (uint16_t q = 0; q < c_.port.queues(); ++q) {
    for (unsigned round = 0; round < kRoundsPerPoll; ++round) {
      rte_mbuf* packets[kBurst];
      const uint16_t n = rte_eth_rx_burst(c_.port.id(), q, packets, kBurst);
      const uint64_t now = c_.clock.ticks();
      for (unsigned i = 0; i < n; ++i) take(packets[i], now);
      any |= n != 0;
      if (n < kBurst) break;
    }
  }
  return any;
}

void Intake::take(rte_mbuf* m, uint64_t now) noexcept {
  auto* eth = rte_pktmbuf_mtod(m, uint8_t*);
  const uint32_t frame_size = m->data_len;
  if (frame_size >= header_size_ + sizeof(wire::OuterHeader) && is_udp(eth, c_.options.v6)) {
    // The length field, since a NIC may have padded a short frame.
    const uint32_t size = load_be16(eth + header_size_ - 4) - uint32_t{wire::kUdpSize};
    if (size <= frame_size - header_size_ && size >= sizeof(wire::OuterHeader)) {
      uint8_t* outer = eth + header_size_;
      if (outer[0] == uint8_t(wire::Type::kData)) return take_data(m, outer, size, now);
      m->data_len = static_cast<uint16_t>(header_size_ + size);
      c_.stats.greetings.add();
      return pass_greeting(m, outer);
    }
  }
  if (answer_question(c_.addresses, {eth, frame_size})) {
    c_.stats.questions.add();
    return sender_.send_raw(0, m);
  }
  c_.stats.others.add();
  rte_pktmbuf_free(m);
}

void Intake::take_data(rte_mbuf* m, uint8_t* outer, uint32_t size, uint64_t now) noexcept {
  const uint32_t index = load_le<uint32_t>(outer + 4);
  if (!c_.flows.knows(index)) {
    c_.stats.unknown.add();
    return rte_pktmbuf_free(m);
  }
  const uint8_t kind = counting_ && size < kSizes ? is_traffic_[size] : kNotTraffic;
  if (kind != kNotTraffic) c_.stats.received.add();
  if (kind == kTraffic) {
    if (--until_open_ != 0) return rte_pktmbuf_free(m);
    until_open_ = open_every_;  // 0 wraps: the next is four billion packets away
  }
  open(m, outer, size, now);
}

void Intake::open(rte_mbuf* m, uint8_t* outer, uint32_t size, uint64_t now) noexcept {
  const auto head = wire::read_outer(outer);
  const auto seal = wire::seal_of(head.sealed_length, size);
  const bool expected = counting_ && size < kSizes && is_traffic_[size] != kNotTraffic;
  bool good = seal != wire::Seal::kMalformed;
  if (good) {
    const ReceiveKey& key = c_.flows.receive_key(head.receiver);
    crypto::GcmKey schedule;
    crypto::aead().expand(key.key.data(), schedule);
    ByteArray<34> aad;
    std::memcpy(aad.data(), outer, 16);
    std::memcpy(aad.data() + 16, outer + size - 16, 16);
    store_le(aad.data() + 32, static_cast<uint16_t>(size));
    crypto::AeadOp op{};
    op.key = &schedule;
    op.aad = aad.data();
    op.aad_size = seal == wire::Seal::kFull ? 16 : 34;
    op.tag = outer + 16;
    op.text = outer + wire::kDataRegion;
    op.text_size = head.sealed_length;
    std::memcpy(op.nonce, key.salt.data(), 4);
    std::memcpy(op.nonce + 4, outer + 8, 8);
    good = crypto::aead().open({&op, 1}) != 0;
  }
  c_.stats.opened.add();
  const uint8_t* frame = outer + wire::kDataRegion;
  const uint32_t local = head.receiver >> kGenerationBits;
  const auto type = good ? static_cast<wire::FrameType>(frame[0]) : wire::FrameType::kCredential;
  if (type == wire::FrameType::kDatagram) {
    if (expected) {
      check_datagram(frame, size, local, now);
    } else {
      c_.stats.strays.add();
    }
  } else if (type == wire::FrameType::kControl || type == wire::FrameType::kKeepalive) {
    c_.stats.own.add();
    // Of the traffic's size, but not of the traffic.
    if (expected) c_.stats.received.subtract();
    if (type == wire::FrameType::kControl) {
      m->data_len = static_cast<uint16_t>(header_size_ + size);
      return pass_control(m, frame, local);
    }
  } else {
    c_.stats.bad.add();
  }
  rte_pktmbuf_free(m);
}

void Intake::check_datagram(const uint8_t* frame, uint32_t size, uint32_t local,
                            uint64_t now) noexcept {
  const size_t payload = size - kTunnelSize;
  const uint32_t own = c_.flows.flows[local].agent;
  if (!has_stamp(payload)) return;
  const auto stamp = load_le<Stamp>(frame + 16);
  const uint8_t* end = frame + 16 + payload;
  const auto device = static_cast<size_t>(stamp.burst >> 56);
  if (stamp.magic != kMagic || stamp.flow >= seen_.size() ||
      c_.population.peer_of(stamp.flow) != own || device >= c_.all_send_times.size() ||
      (has_trailer(payload) && !trailer_holds(end, stamp.flow, stamp.sequence))) {
    return c_.stats.bad.add();
  }
  check_order(stamp.flow, stamp.sequence);
  const uint64_t sent = c_.all_send_times[device]->get(stamp.burst);
  if (sent == 0) return c_.stats.untimed.add();
  c_.stats.latency.add(now > sent ? c_.ns(now - sent) : 0);
}

void Intake::check_order(uint32_t flow, uint64_t number) noexcept {
  Seen& s = seen_[flow];
  if (number >= s.next) {
    const uint64_t step = number + 1 - s.next;
    s.bits = step < 64 ? s.bits << step | 1 : 1;
    s.next = number + 1;
    return;
  }
  const uint64_t back = s.next - 1 - number;
  if (back < 64 && (s.bits >> back & 1) != 0) return c_.stats.duplicates.add();
  if (back < 64) s.bits |= uint64_t{1} << back;
  c_.stats.reordered.add();
}

void Intake::pass_control(rte_mbuf* m, const uint8_t* frame, uint32_t local) noexcept {
  const auto head = wire::read_frame(frame);
  const auto* begin = rte_pktmbuf_mtod(m, const uint8_t*);
  const auto skip = static_cast<uint16_t>(frame + sizeof head - begin);
  if (m->data_len < skip + head.extension_length) return rte_pktmbuf_free(m);
  rte_pktmbuf_adj(m, skip);
  m->data_len = head.extension_length;
  m->pkt_len = head.extension_length;
  note_of(m) = {.kind = NoteKind::kControl, .local = local, .request = head.call_id};
  c_.mailbox.deliver(m);
}

void Intake::pass_greeting(rte_mbuf* m, const uint8_t* payload) noexcept {
  const uint32_t local = load_le<uint32_t>(payload + 4) >> kGenerationBits;
  rte_pktmbuf_adj(m, header_size_);
  note_of(m) = {.kind = NoteKind::kGreeting, .local = local};
  c_.mailbox.deliver(m);
}

}  // namespace sluice::pktgen
