#include "pktgen/sender.h"

#include <rte_mbuf.h>

#include <numeric>

#include "pktgen/random.h"

namespace sluice::pktgen {
namespace {

constexpr uint64_t kOrderSeed = 0x9e3779b97f4a7c15;

}  // namespace

Sender::Sender(WorkerContext& context)
    : c_(context),
      out_(c_.port.id(), c_.port.queues(), c_.capture),
      side_(c_.port.id(), c_.port.queues(), c_.capture),
      random_(kOrderSeed + context.device) {}

Sender::~Sender() {
  end();
}

void Sender::make_order() {
  order_.resize(c_.flows.flows.size());
  std::iota(order_.begin(), order_.end(), 0);
  if (traffic_->order == Order::kRound) return;
  for (size_t i = order_.size(); i > 1; --i) {
    std::swap(order_[i - 1], order_[next_random(random_) % i]);
  }
}

void Sender::begin(const Traffic& traffic, double pps) {
  traffic_ = &traffic;
  out_.set_dry(traffic.dry);
  stray_below_ = static_cast<uint32_t>(traffic.stray * 4294967295.0);
  at_ = size_at_ = 0;
  until_probe_ = traffic.probe_every;
  replay_.reset();
  for (const auto& f : traffic.floods) {
    if (f.kind == FloodKind::kReplay && !replay_) replay_ = std::make_unique<ReplayStore>();
  }
  make_order();
  const double share = double(c_.flows.flows.size()) / c_.population.agents;
  if (traffic.presealed != 0) preseal(static_cast<uint32_t>(traffic.presealed * share));
  pacer_.begin(pps, c_.clock.hz(), c_.clock.ticks());
}

void Sender::end() noexcept {
  out_.drop();
  for (; next_presealed_ < presealed_.size(); ++next_presealed_) {
    rte_pktmbuf_free(presealed_[next_presealed_]);
  }
  presealed_.clear();
  presealed_queues_.clear();
  presealed_bursts_.clear();
  next_presealed_ = 0;
  traffic_ = nullptr;
}

uint16_t Sender::next_payload() noexcept {
  const uint16_t payload = traffic_->payloads[size_at_];
  if (++size_at_ == traffic_->payloads.size()) size_at_ = 0;
  if (until_probe_ != 0 && --until_probe_ == 0) {
    until_probe_ = traffic_->probe_every;
    if (!has_stamp(payload)) {
      c_.stats.probes.add();
      return kProbePayload;
    }
  }
  return payload;
}

uint16_t Sender::queue_of(const Flow& flow) noexcept {
  const uint16_t queues = out_.queues();
  if (queues == 1 || stray_below_ == 0) return flow.queue;
  const uint64_t r = next_random(random_);
  if (static_cast<uint32_t>(r) >= stray_below_) return flow.queue;
  return static_cast<uint16_t>((flow.queue + 1 + (r >> 32) % (queues - 1u)) % queues);
}

// IPv6 needs its checksum over what is sealed by now.
void Sender::finish(rte_mbuf* m, const Flow& flow, uint16_t size) noexcept {
  m->data_len = size;
  m->pkt_len = size;
  if (flow.header_size != 62) return;
  auto* at = rte_pktmbuf_mtod(m, uint8_t*);
  wire::finish_udp_checksum(at, true, static_cast<uint16_t>(size - flow.header_size));
}

void Sender::build(unsigned n, uint64_t burst, rte_mbuf** packets) noexcept {
  crypto::AeadOp ops[kBurst];
  HeaderAad aads[kBurst];
  uint16_t sizes[kBurst];
  uint32_t locals[kBurst];
  const size_t count = order_.size();
  for (unsigned k = 0; k < n; ++k) {
    locals[k] = order_[at_];
    if (++at_ == count) at_ = 0;
  }
  size_t ahead = at_;
  for (unsigned k = 0; k < n; ++k) {
    const DataShape shape{next_payload(), traffic_->seal, burst};
    sizes[k] = write_data(c_.flows, locals[k], shape, rte_pktmbuf_mtod(packets[k], uint8_t*),
                          ops[k], aads[k]);
    prefetch_flow(c_.flows, order_[ahead]);
    if (++ahead == count) ahead = 0;
  }
  crypto::aead().seal({ops, n});
  for (unsigned k = 0; k < n; ++k) finish(packets[k], c_.flows.flows[locals[k]], sizes[k]);
  for (unsigned k = 0; k < n; ++k) {
    // For the queue only; the flow is known no more once the packet is in its box.
    note_of(packets[k]).local = queue_of(c_.flows.flows[locals[k]]);
  }
}

void Sender::post(unsigned n, rte_mbuf** packets) noexcept {
  for (unsigned k = 0; k < n; ++k) {
    out_.add(static_cast<uint16_t>(note_of(packets[k]).local), packets[k]);
  }
}

void Sender::preseal(uint32_t count) {
  presealed_.assign(count, nullptr);
  presealed_bursts_.resize(count);
  for (uint32_t i = 0; i < count; ++i) {
    rte_mbuf* m = rte_pktmbuf_alloc(c_.presealed_pool);
    if (m == nullptr) {
      presealed_.resize(i);
      break;
    }
    presealed_[i] = m;
    presealed_bursts_[i] = make_burst(c_.device, ++burst_);
    build(1, presealed_bursts_[i], &presealed_[i]);
  }
}

void Sender::queue_presealed(unsigned n) noexcept {
  const uint64_t now = c_.clock.ticks();
  for (unsigned k = 0; k < n; ++k) {
    c_.send_times.set(presealed_bursts_[next_presealed_ + k], now);
  }
  post(n, &presealed_[next_presealed_]);
  next_presealed_ += n;
}

void Sender::transmit() noexcept {
  c_.stats.sent.add(out_.flush());
}

void Sender::poll(uint64_t now) noexcept {
  if (!side_.empty()) side_.flush();
  if (traffic_ == nullptr) return;
  const bool was_blocked = !out_.empty();
  if (was_blocked) transmit();
  uint64_t given_up = 0;
  unsigned n = pacer_.due(now, kBurst, given_up);
  if (given_up != 0) (was_blocked ? c_.stats.blocked : c_.stats.skipped).add(given_up);
  if (!out_.empty() || n == 0) return;
  if (replay_) replay_->commit();

  rte_mbuf* packets[kBurst];
  if (traffic_->presealed != 0) {
    n = static_cast<unsigned>(std::min<size_t>(n, presealed_.size() - next_presealed_));
    if (n == 0) return;
  } else if (rte_pktmbuf_alloc_bulk(c_.pool, packets, n) != 0) {
    return;  // every buffer is with the device: as full as a queue can be
  }
  if (!pacer_.max()) {
    const uint64_t intended = pacer_.intended();
    c_.stats.late.add(now > intended ? c_.ns(now - intended) : 0, n);
  }
  if (traffic_->presealed != 0) {
    queue_presealed(n);
  } else {
    const uint64_t burst = make_burst(c_.device, ++burst_);
    build(n, burst, packets);
    if (replay_) {
      replay_->stage({rte_pktmbuf_mtod(packets[0], const uint8_t*), packets[0]->data_len},
                     static_cast<uint16_t>(note_of(packets[0]).local));
    }
    post(n, packets);
    c_.send_times.set(burst, c_.clock.ticks());
  }
  pacer_.sent(n);
  transmit();
}

void Sender::post_side(uint16_t queue, rte_mbuf* m) noexcept {
  if (!side_.room()) return rte_pktmbuf_free(m);
  side_.add(queue, m);
  side_.flush();
}

void Sender::send_raw(uint16_t queue, rte_mbuf* m) noexcept {
  post_side(queue, m);
}

void Sender::send_frame(uint32_t local, rte_mbuf* m) noexcept {
  Flow& f = c_.flows.flows[local];
  const uint16_t size = m->data_len;
  const auto head = static_cast<uint16_t>(f.header_size + wire::kDataRegion);
  auto* at = reinterpret_cast<uint8_t*>(rte_pktmbuf_prepend(m, head));
  if (at == nullptr || !f.keyed) return rte_pktmbuf_free(m);
  write_headers(f, at, static_cast<uint16_t>(wire::kDataRegion + size));
  uint8_t* outer = at + f.header_size;
  wire::write_outer(outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion, size, f.relay_index,
                            wire::make_counter(0, f.sequence++)});
  crypto::AeadOp op{};
  op.key = &c_.flows.keys[local];
  op.aad = outer;
  op.aad_size = sizeof(wire::OuterHeader);
  op.tag = outer + sizeof(wire::OuterHeader);
  op.text = outer + wire::kDataRegion;
  op.text_size = size;
  std::memcpy(op.nonce, f.salt, 4);
  std::memcpy(op.nonce + 4, outer + 8, 8);
  crypto::aead().seal({&op, 1});
  finish(m, f, static_cast<uint16_t>(head + size));
  post_side(f.queue, m);
}

}  // namespace sluice::pktgen
