// When each of the last bursts of one device was handed to its queue, in TSC ticks: written by its
// worker right before tx_burst, so a packet need not carry a time from before its own sealing. Read
// by all workers; an entry that was overwritten or is being written reads as unknown.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

namespace sluice::pktgen {

class SendTimes {
 public:
  static constexpr size_t kSize = size_t{1} << 18;

  SendTimes() : entries_(kSize) {}

  void set(uint64_t burst, uint64_t ticks) noexcept {
    Entry& e = entries_[burst % kSize];
    e.burst.store(~uint64_t{0}, std::memory_order_relaxed);
    e.ticks.store(ticks, std::memory_order_release);
    e.burst.store(burst, std::memory_order_release);
  }

  // 0: unknown.
  uint64_t get(uint64_t burst) const noexcept {
    const Entry& e = entries_[burst % kSize];
    if (e.burst.load(std::memory_order_acquire) != burst) return 0;
    const uint64_t ticks = e.ticks.load(std::memory_order_acquire);
    return e.burst.load(std::memory_order_relaxed) == burst ? ticks : 0;
  }

 private:
  struct Entry {
    std::atomic<uint64_t> burst{~uint64_t{0}};
    std::atomic<uint64_t> ticks{0};
  };
  std::vector<Entry> entries_;
};

}  // namespace sluice::pktgen
