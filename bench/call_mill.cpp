#include "bench/call_mill.h"

#include <algorithm>
#include <random>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <fmt/format.h>

#include "bench/own_core.h"

namespace sluice::bench {

CallMill::CallMill(InMemoryRelay& relay, Callers& callers)
    : relay_(relay), callers_(callers), order_(relay.house().sessions) {
  for (uint32_t i = 0; i < order_.size(); ++i) order_[i] = i;
  std::shuffle(order_.begin(), order_.end(), std::mt19937(12345));
}

CallMill::~CallMill() {
  for (rte_mbuf* m : batch_) rte_pktmbuf_free(m);
}

uint32_t CallMill::next_caller() {
  at_ = at_ + 1 == order_.size() ? 0 : at_ + 1;
  return order_[at_];
}

bool CallMill::prepare() {
  std::swap(groups_[2], groups_[1]);
  std::swap(groups_[1], groups_[0]);
  groups_[0].clear();
  for (unsigned i = 0; i < kGroup; ++i) {
    groups_[0].push_back(callers_.sign(next_caller()));
    lately_.push_back(groups_[0].back());
    if (lately_.size() > order_.size()) lately_.pop_front();
  }
  opened_ += kGroup;
  SealedFrame frame;
  const auto add = [&] {
    batch_.push_back(callers_.buffer_with(frame));
    return batch_.back() != nullptr;
  };
  for (unsigned i = 0; i < kGroup; ++i) {
    callers_.open(groups_[0][i], frame);
    if (!add()) return false;
    if (!groups_[1].empty()) {
      callers_.accept(groups_[1][i], frame);
      if (!add()) return false;
    }
    for (const bool by_callee : {false, true}) {
      if (groups_[2].empty()) break;
      callers_.close(groups_[2][i], by_callee, frame);
      if (!add()) return false;
    }
  }
  return true;
}

void CallMill::enqueue() {
  const auto n = static_cast<unsigned>(batch_.size());
  rte_ring_sp_enqueue_bulk(relay_.rx(0), reinterpret_cast<void**>(batch_.data()), n, nullptr);
  batch_.clear();
}

bool CallMill::waits() const {
  return rte_ring_count(relay_.rx(0)) != 0 ||
         relay_.plane().worker(0).context().calls->waiting.size() != 0;
}

std::pair<uint64_t, uint64_t> CallMill::stretch() {
  if (!prepare()) return {1, 0};
  const uint64_t signatures = kGroup + groups_[1].size();
  enqueue();
  dataplane::Worker& worker = relay_.plane().worker(0);
  const OwnCore own;
  const uint64_t before = __builtin_ia32_rdtsc();
  do {
    worker.poll_once();
  } while (waits());
  return {__builtin_ia32_rdtsc() - before, signatures};
}

unsigned CallMill::collect() {
  void* items[256];
  unsigned total = 0;
  while (const unsigned n = rte_ring_sc_dequeue_burst(relay_.tx(0), items, 256, nullptr)) {
    for (unsigned i = 0; i < n; ++i) rte_pktmbuf_free(static_cast<rte_mbuf*>(items[i]));
    total += n;
  }
  return total;
}

std::string CallMill::problem() const {
  std::string out;
  // What is left of a call that was denied dies: the denial is the reason.
  const std::string denied = relay_.denials();
  if (!denied.empty()) return "calls were denied: " + denied;
  if (relay_.drops(&out) != 0) return "frames died: " + out;
  const fabric::WorkerCounters& c = relay_.arena().counters(0);
  if (c.calls[0].get() != opened_) {
    return fmt::format("{} of {} calls were let through", c.calls[0].get(), opened_);
  }
  // The last groups are on their way.
  if (c.accepted.get() + kGroup < opened_) {
    return fmt::format("{} of {} calls were accepted", c.accepted.get(), opened_);
  }
  return {};
}

}  // namespace sluice::bench
