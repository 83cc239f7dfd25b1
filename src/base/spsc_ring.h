// A bounded ring of plain values between one producer's thread and one consumer's: no lock, no
// system call, no allocation after construction. What does not fit is counted, not waited for.
// Either side reads the other's index only when its own copy says full or empty.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

namespace sluice {

template <typename T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // A power of two.
  explicit SpscRing(size_t slots) : mask_(slots - 1), slots_(new T[slots]) {}

  // Producer. False: full, and counted.
  bool put(const T& value) noexcept {
    const uint64_t at = head_.load(std::memory_order_relaxed);
    if (at - seen_tail_ > mask_) {
      seen_tail_ = tail_.load(std::memory_order_acquire);
      if (at - seen_tail_ > mask_) {
        lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return false;
      }
    }
    slots_[at & mask_] = value;
    head_.store(at + 1, std::memory_order_release);
    return true;
  }
  // Whether `n` more fit; a later put() of so many succeeds.
  bool has_room(size_t n) noexcept {
    seen_tail_ = tail_.load(std::memory_order_acquire);
    return head_.load(std::memory_order_relaxed) - seen_tail_ + n <= mask_ + 1;
  }

  // Consumer. How many were taken.
  size_t take(std::span<T> out) noexcept {
    const uint64_t at = tail_.load(std::memory_order_relaxed);
    if (seen_head_ - at < out.size()) seen_head_ = head_.load(std::memory_order_acquire);
    const size_t n = seen_head_ - at < out.size() ? size_t(seen_head_ - at) : out.size();
    for (size_t i = 0; i < n; ++i) out[i] = slots_[(at + i) & mask_];
    tail_.store(at + n, std::memory_order_release);
    return n;
  }

  size_t slots() const noexcept { return mask_ + 1; }

  // What did not fit since the start. Any thread.
  uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  const size_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(64) std::atomic<uint64_t> head_{0};  // the producer's line
  uint64_t seen_tail_ = 0;
  std::atomic<uint64_t> lost_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};  // the consumer's line
  uint64_t seen_head_ = 0;
};

}  // namespace sluice
