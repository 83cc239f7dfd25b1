// The last 2,048 sequences of one nonce lane (RFC 6479's ring of blocks). Written by the agent's
// owner worker alone; `check` may also run on other workers as a racy read that is stale only in
// the harmless direction (it lets through what `commit` then refuses).
#pragma once

#include <atomic>
#include <cstdint>

#include "base/prefetch.h"

namespace sluice::fabric {

enum class ReplayVerdict : uint8_t { kFresh, kReplay, kTooOld };

class alignas(64) ReplayWindow {
 public:
  static constexpr uint64_t kSize = 2048;

  ReplayVerdict check(uint64_t sequence) const noexcept {
    const uint64_t next = next_.load(std::memory_order_relaxed);
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
    is_highest = sequence >= next;
    if (is_highest) {
      clear_between(next, sequence);
      next_.store(sequence + 1, std::memory_order_relaxed);
    } else if (sequence + kSize < next) {
      return ReplayVerdict::kTooOld;
    }
    std::atomic<uint64_t>& cell = words_[block(sequence)];
    const uint64_t word = cell.load(std::memory_order_relaxed);
    const uint64_t bit = uint64_t{1} << (sequence & 63);
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
  // One block more than the window, so that the block being entered can be cleared whole.
  static constexpr uint64_t kBlocks = kSize / 64 + 1;
  static uint64_t block(uint64_t sequence) noexcept { return (sequence >> 6) % kBlocks; }

  // Blocks after the one that holds next - 1, up to the one that holds `sequence`.
  void clear_between(uint64_t next, uint64_t sequence) noexcept {
    uint64_t first = (next + 63) >> 6;
    const uint64_t last = sequence >> 6;
    if (last >= first + kBlocks) first = last - kBlocks + 1;
    for (uint64_t b = first; b <= last; ++b) {
      words_[b % kBlocks].store(0, std::memory_order_relaxed);
    }
  }

  std::atomic<uint64_t> next_{0};
  std::atomic<uint64_t> words_[kBlocks] = {};
};
static_assert(sizeof(ReplayWindow) == 320);

}  // namespace sluice::fabric
