#include "bench/feeder.h"

#include <algorithm>
#include <random>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include "wire/frame.h"

namespace sluice::bench {
namespace {}  // namespace

void shape(wire::Seal seal, const crypto::GcmKey& key, const uint8_t* salt, uint8_t* outer,
           size_t size, SealShape& s) {
  s.op.key = &key;
  s.op.tag = outer + sizeof(wire::OuterHeader);
  s.op.text = outer + wire::kDataRegion;
  std::memcpy(s.op.nonce, salt, 4);
  std::memcpy(s.op.nonce + 4, outer + 8, 8);
  if (seal == wire::Seal::kHeader) {
    std::memcpy(s.aad.data(), outer, 16);
    std::memcpy(s.aad.data() + 16, outer + size - 16, 16);
    store_le(s.aad.data() + 32, static_cast<uint16_t>(size));
    s.op.aad = s.aad.data();
    s.op.aad_size = s.aad.size();
    s.op.text_size = sizeof(wire::FrameHeader);
  } else {
    s.op.aad = outer;
    s.op.aad_size = sizeof(wire::OuterHeader);
    s.op.text_size = static_cast<uint32_t>(size - wire::kDataRegion);
  }
}

Feeder::Feeder(InMemoryRelay& relay, unsigned worker) : relay_(relay), worker_(worker) {}

void Feeder::set(const Traffic& traffic) {
  traffic_ = traffic;
  own_.clear();
  strays_.clear();
  for (uint32_t i = 0; i < traffic.sessions; ++i) {
    const bool mine = relay_.arena().agents()[i].owner.load() == worker_;
    (mine ? own_ : strays_).push_back(i);
  }
  std::mt19937 random(12345 + worker_);
  std::shuffle(own_.begin(), own_.end(), random);
  std::shuffle(strays_.begin(), strays_.end(), random);
  own_at_ = stray_at_ = stray_debt_ = 0;
  const size_t udp = wire::kDataMin + traffic.payload;
  headers_.resize(size_t{traffic.sessions} * kOuterHeaders);
  for (uint32_t i = 0; i < traffic.sessions; ++i) {
    relay_.write_headers(i, headers_.data() + i * kOuterHeaders, udp);
  }
}

uint32_t Feeder::next_source() {
  stray_debt_ += strays_.empty() ? 0 : traffic_.stray_percent;
  if (stray_debt_ >= 100) {
    stray_debt_ -= 100;
    stray_at_ = (stray_at_ + 1) % strays_.size();
    return strays_[stray_at_];
  }
  own_at_ = (own_at_ + 1) % own_.size();
  return own_[own_at_];
}

// Any of the agent's peers; a linear congruence (Numerical Recipes) is random enough.
uint32_t Feeder::next_label(uint32_t agent) {
  if (relay_.house().edges == 1) return relay_.agent(agent).label;
  random_ = random_ * 1664525 + 1013904223;
  return relay_.label(agent, (random_ >> 16) % relay_.house().edges);
}

rte_mbuf* Feeder::buffer() {
  if (free_.empty()) return rte_pktmbuf_alloc(relay_.plane().pool());
  rte_mbuf* m = free_.back();
  free_.pop_back();
  return m;
}

void Feeder::fill(rte_mbuf* m, uint32_t agent) {
  AgentSide& a = relay_.agent(agent);
  const size_t udp = wire::kDataMin + traffic_.payload;
  m->data_off = RTE_PKTMBUF_HEADROOM;
  m->data_len = static_cast<uint16_t>(kOuterHeaders + udp);
  m->pkt_len = m->data_len;
  m->ol_flags = 0;
  uint8_t* eth = rte_pktmbuf_mtod(m, uint8_t*);
  std::memcpy(eth, headers_.data() + agent * kOuterHeaders, kOuterHeaders);
  uint8_t* outer = eth + kOuterHeaders;
  const bool header = traffic_.seal == wire::Seal::kHeader;
  const size_t sealed = header ? sizeof(wire::FrameHeader) : udp - wire::kDataRegion;
  wire::write_outer(
      outer, {uint8_t(wire::Type::kData), wire::kProtocolVersion, static_cast<uint16_t>(sealed),
              a.session, a.next.fetch_add(1, std::memory_order_relaxed)});
  wire::write_frame(outer + wire::kDataRegion,
                    {uint8_t(wire::FrameType::kDatagram), 0, 0, next_label(agent), 0});
  SealShape s;
  shape(traffic_.seal, a.send, a.send_salt, outer, udp, s);
  crypto::aead().seal({&s.op, 1});
}

void Feeder::prepare() {
  batch_.clear();
  sources_.clear();
  for (unsigned i = 0; i < kBatch; ++i) {
    rte_mbuf* m = buffer();
    const uint32_t source = next_source();
    fill(m, source);
    batch_.push_back(m);
    sources_.push_back(source);
  }
}

void Feeder::enqueue() {
  rte_ring_sp_enqueue_bulk(relay_.rx(worker_), reinterpret_cast<void**>(batch_.data()), kBatch,
                           nullptr);
}

void Feeder::give_back() {
  free_.insert(free_.end(), batch_.begin(), batch_.end());
}

unsigned Feeder::collect() {
  void* items[kBatch];
  unsigned total = 0;
  while (const unsigned n = rte_ring_sc_dequeue_burst(relay_.tx(worker_), items, kBatch, nullptr)) {
    for (unsigned i = 0; i < n; ++i) free_.push_back(static_cast<rte_mbuf*>(items[i]));
    total += n;
  }
  // Buffers wander between workers with the packets handed over.
  while (free_.size() > 8 * kBatch) {
    rte_pktmbuf_free(free_.back());
    free_.pop_back();
  }
  return total;
}

}  // namespace sluice::bench
