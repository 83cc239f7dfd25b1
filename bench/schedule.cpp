#include "bench/schedule.h"

#include <stdexcept>

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_ring.h>

#include "bench/own_core.h"

namespace sluice::bench {
namespace {

constexpr unsigned kTagShift = 60;
constexpr uint64_t kTimeMask = (uint64_t{1} << kTagShift) - 1;
constexpr unsigned kAtOnce = 64;
constexpr double kSettleSeconds = 0.02;  // after the last frame

struct Mark {
  uint64_t due;  // and the tag
  uint64_t size;
};

}  // namespace

SealedFrame& Schedule::add(double at, uint8_t tag) {
  Entry& e = entries_.emplace_back();
  e.at = at;
  e.tag = tag;
  return e.frame;
}

struct PlayerCallback {
  static uint16_t on_tx(uint16_t, uint16_t, rte_mbuf* packets[], uint16_t n, void* arg) {
    auto& player = *static_cast<Player*>(arg);
    const uint64_t now = __builtin_ia32_rdtsc();
    for (uint16_t i = 0; i < n; ++i) {
      const Mark& mark = *RTE_MBUF_DYNFIELD(packets[i], player.field_, Mark*);
      const uint64_t tag = mark.due >> kTagShift;
      if (tag == 0 || mark.size != packets[i]->data_len) continue;
      player.ticks_[tag].push_back(now - (mark.due & kTimeMask));
    }
    return n;
  }
};

Player::Player(InMemoryRelay& relay) : relay_(relay) {
  static constexpr rte_mbuf_dynfield kField{
      .name = "sluice_bench_mark", .size = sizeof(Mark), .align = alignof(Mark), .flags = 0};
  field_ = rte_mbuf_dynfield_register(&kField);
  const uint16_t port = relay.plane().worker(0).context().ports[0].dpdk_id;
  callback_ = field_ < 0 ? nullptr : rte_eth_add_tx_callback(port, 0, PlayerCallback::on_tx, this);
  if (callback_ == nullptr) throw std::runtime_error("no room in a packet for a time stamp");
}

Player::~Player() {
  const uint16_t port = relay_.plane().worker(0).context().ports[0].dpdk_id;
  rte_eth_remove_tx_callback(port, 0, callback_);
}

void Player::collect() {
  void* items[kAtOnce];
  while (const unsigned n = rte_ring_sc_dequeue_burst(relay_.tx(0), items, kAtOnce, nullptr)) {
    rte_pktmbuf_free_bulk(reinterpret_cast<rte_mbuf**>(items), n);
    if (n < kAtOnce) break;
  }
}

unsigned Player::give(const Schedule& schedule, size_t& at, uint64_t start, uint64_t now,
                      Played& out) {
  const auto hz = static_cast<double>(relay_.clock().hz());
  rte_mbuf* batch[kAtOnce];
  unsigned taken = 0, n = 0;
  for (; taken < kAtOnce && at < schedule.size(); ++at, ++taken) {
    const Schedule::Entry& e = schedule.entries_[at];
    const uint64_t due = start + static_cast<uint64_t>(e.at * hz);
    if (due > now) break;
    rte_mbuf* m = rte_pktmbuf_alloc(relay_.plane().pool());
    if (m == nullptr) {
      ++out.did_not_fit;
      continue;
    }
    std::memcpy(rte_pktmbuf_append(m, e.frame.size), e.frame.bytes, e.frame.size);
    *RTE_MBUF_DYNFIELD(m, field_, Mark*) = {due | uint64_t{e.tag} << kTagShift, e.frame.size};
    batch[n++] = m;
  }
  const unsigned fit =
      rte_ring_sp_enqueue_burst(relay_.rx(0), reinterpret_cast<void**>(batch), n, nullptr);
  if (fit < n) rte_pktmbuf_free_bulk(batch + fit, n - fit);
  out.did_not_fit += n - fit;
  return taken;
}

Played Player::play(const Schedule& schedule) {
  Played out;
  for (auto& list : ticks_) list.clear();
  std::array<size_t, Schedule::kTags> expected{};
  for (const auto& e : schedule.entries_) ++expected[e.tag];
  for (unsigned t = 0; t < Schedule::kTags; ++t) ticks_[t].reserve(expected[t]);

  dataplane::Worker& worker = relay_.plane().worker(0);
  const fabric::WorkerCounters& counters = relay_.arena().counters(0);
  const auto hz = static_cast<double>(relay_.clock().hz());
  const auto hiccup = static_cast<uint64_t>(Played::kHiccupUs * hz / 1e6);
  const OwnCore own;
  const uint64_t busy_before = counters.busy_ticks.get();
  const uint64_t start = __builtin_ia32_rdtsc();
  const auto end = start + static_cast<uint64_t>((schedule.seconds() + kSettleSeconds) * hz);
  size_t at = 0;
  uint64_t longest = 0;
  for (uint64_t now = start; now < end;) {
    while (const unsigned n = give(schedule, at, start, now, out)) {
      if (n < kAtOnce) break;
    }
    worker.poll_once();
    collect();
    const uint64_t after = __builtin_ia32_rdtsc();
    if (after - now > hiccup) ++out.hiccups;
    longest = std::max(longest, after - now);
    now = after;
  }
  out.seconds = double(__builtin_ia32_rdtsc() - start) / hz;
  out.busy = double(counters.busy_ticks.get() - busy_before) / hz / out.seconds;
  out.longest_us = double(longest) / hz * 1e6;
  for (unsigned t = 1; t < Schedule::kTags; ++t) {
    out.us[t].reserve(ticks_[t].size());
    for (const uint64_t ticks : ticks_[t]) out.us[t].push_back(double(ticks) / hz * 1e6);
  }
  return out;
}

}  // namespace sluice::bench
