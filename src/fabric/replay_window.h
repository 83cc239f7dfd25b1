// The last 2,048 sequences of one nonce lane: a ring of bits, as in RFC 6479, but cleared bit by
// bit, so that the packet that comes in order (nearly every one) clears nothing. Written by the
// agent's owner worker alone; `check` may also run on other workers as a racy read that is stale
// only in the harmless direction (it lets through what `commit` then refuses).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/prefetch.h"

namespace sluice::fabric {

enum class ReplayVerdict : uint8_t { kFresh, kReplay, kTooOld };

class alignas(64) ReplayWindow {
 public:
  static constexpr uint64_t kSize = 2048;

  ReplayVerdict check(uint64_t sequence) const noexcept {
    const uint64_t next = next_.load(std::memory_order_acquire);
    if (sequence >= next) return ReplayVerdict::kFresh;
    if (sequence + kSize < next) return ReplayVerdict::kTooOld;
    const uint64_t word = words_[block(sequence)].load(std::memory_order_relaxed);
    return (word >> (sequence & 63) & 1) != 0 ? ReplayVerdict::kReplay : ReplayVerdict::kFresh;
  }

  // The lines that `check` and `commit` of this sequence will touch.
  void prefetch(uint64_t sequence) const noexcept {
    sluice::prefetch(&next_);
    sluice::prefetch(&words_[block(sequence)]);
  }

  // Test and set. `is_highest` tells whether this sequence is the lane's new maximum.
  ReplayVerdict commit(uint64_t sequence, bool& is_highest) noexcept {
    const uint64_t next = next_.load(std::memory_order_relaxed);
    std::atomic<uint64_t>& cell = words_[block(sequence)];
    const uint64_t bit = uint64_t{1} << (sequence & 63);
    is_highest = sequence >= next;
    if (is_highest) {
      if (sequence != next) forget(next, sequence);
      // Who sees the new maximum sees what it made the window forget.
      next_.store(sequence + 1, std::memory_order_release);
      cell.store(cell.load(std::memory_order_relaxed) | bit, std::memory_order_relaxed);
      return ReplayVerdict::kFresh;
    }
    if (sequence + kSize < next) return ReplayVerdict::kTooOld;
    const uint64_t word = cell.load(std::memory_order_relaxed);
    if ((word & bit) != 0) return ReplayVerdict::kReplay;
    cell.store(word | bit, std::memory_order_relaxed);
    return ReplayVerdict::kFresh;
  }

  uint64_t next() const noexcept { return next_.load(std::memory_order_relaxed); }

  // Only while no worker can see the window.
  void reset() noexcept {
    next_.store(0, std::memory_order_relaxed);
    for (auto& w : words_) w.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr uint64_t kBlocks = kSize / 64;
  static uint64_t block(uint64_t sequence) noexcept { return (sequence >> 6) % kBlocks; }

  // Those that were skipped, `next` up to but without `sequence`: their bits still tell of the
  // sequences 2,048 before them. The one at `sequence` is about to be set whatever it says.
  void forget(uint64_t next, uint64_t sequence) noexcept {
    if (sequence - next >= kSize) next = sequence - kSize;
    while (next < sequence) {
      const uint64_t low = next & 63;
      const uint64_t count = std::min<uint64_t>(64 - low, sequence - next);
      const uint64_t bits = (~uint64_t{0} >> (64 - count)) << low;
      std::atomic<uint64_t>& cell = words_[block(next)];
      cell.store(cell.load(std::memory_order_relaxed) & ~bits, std::memory_order_relaxed);
      next += count;
    }
  }

  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> words_[kBlocks] = {};
};
static_assert(sizeof(ReplayWindow) == 320);

}  // namespace sluice::fabric
