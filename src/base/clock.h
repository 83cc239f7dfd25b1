// Time. `ticks` are TSC ticks for everything that a packet's life depends on (one instruction, no
// system call); Unix milliseconds are for what is written down or signed. Both can be shifted, so
// that tests live through 180 s in an instant without a second implementation.
// Thread-safe: readers anywhere, the shift is one relaxed atomic.
#pragma once

#include <atomic>
#include <cstdint>

namespace sluice {

class Clock {
 public:
  // Measures the TSC against CLOCK_MONOTONIC for about 20 ms.
  Clock();
  explicit Clock(uint64_t hz) : hz_(hz) {}
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

  uint64_t ticks() const noexcept {
    return __builtin_ia32_rdtsc() + shift_ticks_.load(std::memory_order_relaxed);
  }
  uint64_t hz() const noexcept { return hz_; }
  uint64_t ticks_from_us(uint64_t us) const noexcept { return us * (hz_ / 1000) / 1000; }
  uint64_t ticks_from_ms(uint64_t ms) const noexcept { return ms * (hz_ / 1000); }
  double us_from_ticks(uint64_t t) const noexcept { return 1e6 * double(t) / double(hz_); }

  uint64_t unix_ms() const noexcept;

  // As when somebody sets the host's clock; ticks go on.
  void set_wall_forward_ms(int64_t ms) noexcept {
    shift_ms_.fetch_add(static_cast<uint64_t>(ms), std::memory_order_relaxed);
  }
  void advance_ms(uint64_t ms) noexcept {
    shift_ticks_.fetch_add(ticks_from_ms(ms), std::memory_order_relaxed);
    shift_ms_.fetch_add(ms, std::memory_order_relaxed);
  }

 private:
  uint64_t hz_ = 0;
  std::atomic<uint64_t> shift_ticks_{0};
  std::atomic<uint64_t> shift_ms_{0};
};

}  // namespace sluice
