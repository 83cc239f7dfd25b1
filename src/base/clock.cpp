#include "base/clock.h"

#include <ctime>

namespace sluice {
namespace {

uint64_t now_ns(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return uint64_t(ts.tv_sec) * 1'000'000'000u + uint64_t(ts.tv_nsec);
}

}  // namespace

Clock::Clock() {
  const uint64_t t0 = now_ns(CLOCK_MONOTONIC_RAW);
  const uint64_t c0 = __builtin_ia32_rdtsc();
  uint64_t t1 = t0;
  while (t1 - t0 < 20'000'000) t1 = now_ns(CLOCK_MONOTONIC_RAW);
  const uint64_t c1 = __builtin_ia32_rdtsc();
  hz_ = uint64_t(double(c1 - c0) * 1e9 / double(t1 - t0));
}

uint64_t Clock::unix_ms() const noexcept {
  return now_ns(CLOCK_REALTIME) / 1'000'000 + shift_ms_.load(std::memory_order_relaxed);
}

}  // namespace sluice
