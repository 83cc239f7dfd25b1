// Timed stretches on one core, and what they add up to. A slice is a run of stretches, each timed
// by TSC; time that the core lost to somebody else (a hypervisor, an interrupt) shows as stretches
// far above the slice's median, and a slice that lost too much is taken again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace sluice::bench {

inline constexpr double kSliceSeconds = 0.3;
inline constexpr unsigned kSlices = 7;
inline constexpr double kMayLose = 0.02;
inline constexpr unsigned kRetries = 5;

template <typename T>
T median(std::vector<T> v) {
  if (v.empty()) return T{};
  std::nth_element(v.begin(), v.begin() + v.size() / 2, v.end());
  return v[v.size() / 2];
}

struct Slice {
  uint64_t ticks = 0;
  uint64_t packets = 0;
  std::vector<uint32_t> stretches;  // ticks of each

  void add(uint64_t t, uint64_t n) {
    ticks += t;
    packets += n;
    stretches.push_back(static_cast<uint32_t>(std::min<uint64_t>(t, UINT32_MAX)));
  }
  // Share of the time above twice the median stretch.
  double lost() const {
    const uint64_t m = median(stretches);
    uint64_t over = 0;
    for (const uint32_t t : stretches) over += t > 2 * m ? t - m : 0;
    return ticks == 0 ? 0 : double(over) / double(ticks);
  }
  double ns_per_packet(const Clock& clock) const {
    return packets == 0 ? 0 : 1000 * clock.us_from_ticks(ticks) / double(packets);
  }
};

// Runs `stretch` (which returns {ticks, packets}) for a slice's time, again if too much was lost.
// `repeated` counts the slices taken again.
template <typename Stretch>
double measure_slice(const Clock& clock, unsigned& repeated, Stretch&& stretch,
                     double seconds = kSliceSeconds) {
  Slice best;
  for (unsigned attempt = 0;; ++attempt) {
    Slice s;
    const auto wanted = static_cast<uint64_t>(seconds * double(clock.hz()));
    while (s.ticks < wanted) {
      const auto [ticks, packets] = stretch();
      s.add(ticks, packets);
    }
    if (s.lost() <= kMayLose || attempt == kRetries) return s.ns_per_packet(clock);
    ++repeated;
  }
}

}  // namespace sluice::bench
