#include "bench/load.h"

#include <algorithm>
#include <random>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "bench/feeder.h"

namespace sluice::bench {
namespace {}  // namespace

Load::Load(InMemoryRelay& relay, size_t payload, uint32_t first_other, Callers* callers,
           unsigned calls)
    : relay_(relay),
      callers_(callers),
      calls_(callers == nullptr ? 0 : calls),
      payload_(payload),
      stock_(relay.house().workers) {
  const uint32_t n = relay.house().sessions;
  headers_.resize(n * kOuterHeaders);
  for (uint32_t i = 0; i < n; ++i) {
    relay.write_headers(i, headers_.data() + i * kOuterHeaders, wire::kDataMin + payload);
  }
  for (uint32_t i = first_other; i < n; ++i) others_.push_back(i);
  std::shuffle(others_.begin(), others_.end(), std::mt19937(12345));
}

Load::~Load() {
  for (auto& s : stock_) {
    for (rte_mbuf* m : s.packets) rte_pktmbuf_free(m);
  }
}

void Load::aim(uint32_t agent) {
  agent_ = agent;
  aimed_ = 0;
  calls_left_ = calls_;
}

unsigned Load::queue_for(uint32_t agent) {
  const unsigned workers = relay_.house().workers;
  const unsigned owner = relay_.arena().agents()[agent].owner.load(std::memory_order_relaxed);
  stray_debt_ += workers > 1 ? kStrayPercent : 0;
  if (stray_debt_ < 100) return owner;
  stray_debt_ -= 100;
  stray_to_ = (stray_to_ + 1) % (workers - 1);
  return (owner + 1 + stray_to_) % workers;
}

rte_mbuf* Load::seal(uint32_t agent, const wire::FrameHeader& frame, Bytes body, size_t size) {
  rte_mbuf* m = rte_pktmbuf_alloc(relay_.plane().pool());
  if (m == nullptr) return nullptr;
  AgentSide& a = relay_.agent(agent);
  const size_t udp = wire::kDataMin + size;
  auto* eth =
      reinterpret_cast<uint8_t*>(rte_pktmbuf_append(m, static_cast<uint16_t>(kOuterHeaders + udp)));
  if (size == payload_) {
    std::memcpy(eth, headers_.data() + agent * kOuterHeaders, kOuterHeaders);
  } else {
    relay_.write_headers(agent, eth, udp);
  }
  uint8_t* outer = eth + kOuterHeaders;
  wire::write_outer(
      outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion,
              static_cast<uint16_t>(udp - wire::kDataRegion), a.session, a.next.fetch_add(1)});
  wire::write_frame(outer + wire::kDataRegion, frame);
  std::copy(body.begin(), body.end(), outer + wire::kDataMin);
  SealShape s;
  shape(wire::Seal::kFull, a.send, a.send_salt, outer, udp, s);
  crypto::aead().seal({&s.op, 1});
  return m;
}

rte_mbuf* Load::open_call(uint32_t agent) {
  SealedFrame frame;
  callers_->open(callers_->sign(agent, false), frame);
  return callers_->buffer_with(frame);
}

void Load::add_next() {
  phase_ = (phase_ + 1) % kAimedPeriod;
  const bool aimed = phase_ < 2;
  if (!aimed) at_ = (at_ + 1) % others_.size();
  const uint32_t agent = aimed ? agent_ ^ phase_ : others_[at_];
  const wire::FrameHeader frame{uint8_t(wire::FrameType::kDatagram), 0, 0,
                                relay_.agent(agent).label, 0};
  const bool call = aimed && calls_left_ != 0;
  calls_left_ -= call ? 1 : 0;
  rte_mbuf* m = call ? open_call(agent) : seal(agent, frame, {}, payload_);
  if (m == nullptr) return;
  Stock& stock = stock_[queue_for(agent)];
  stock.packets.push_back(m);
  stock.aimed += aimed ? 1 : 0;
}

void Load::prepare(unsigned n) {
  for (size_t i = 0; i < n * stock_.size(); ++i) add_next();
}

void Load::release() {
  for (unsigned q = 0; q < stock_.size(); ++q) {
    Stock& s = stock_[q];
    void** packets = reinterpret_cast<void**>(s.packets.data());
    const auto n = static_cast<unsigned>(s.packets.size());
    if (rte_ring_sp_enqueue_bulk(relay_.rx(q), packets, n, nullptr) == n) {
      aimed_ += s.aimed;
    } else {
      for (rte_mbuf* m : s.packets) rte_pktmbuf_free(m);
    }
    s = {};
  }
}

void Load::feed(unsigned n) {
  for (unsigned q = 0; q < stock_.size(); ++q) {
    // Half, since strays make one queue's share larger than the others'.
    n = std::min(n, rte_ring_free_count(relay_.rx(q)) / 2);
  }
  prepare(n);
  release();
}

void Load::send(uint32_t agent, const wire::FrameHeader& frame, Bytes body) {
  rte_mbuf* m = seal(agent, frame, body, body.size());
  if (m != nullptr && rte_ring_sp_enqueue(relay_.rx(queue_for(agent)), m) != 0) {
    rte_pktmbuf_free(m);
  }
}

}  // namespace sluice::bench
