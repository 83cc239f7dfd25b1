// How long forwarded packets were in the relay, from the burst that took them out of a NIC to the
// one that gave them to a NIC, in the arena. One writer each, a worker; control reads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/log_buckets.h"
#include "fabric/counters.h"

namespace sluice::fabric {

// Nanoseconds, log-linearly: within an eighth. What is longer than kLimit counts in the last
// bucket; sum and maximum are exact.
class alignas(64) LatencyHistogram {
 public:
  using Scale = LogBuckets<3>;
  static constexpr uint64_t kLimit = uint64_t{1} << 30;  // 1.07 s
  static constexpr size_t kBuckets = Scale::of(kLimit) + 1;

  // `times` packets that were there as long; `bucket` is bucket_of(ns).
  void add(uint64_t ns, size_t bucket, uint64_t times) noexcept {
    sum_ns_.add(ns * times);
    longest_ns_.raise(ns);
    buckets_[bucket].add(times);
  }
  static constexpr size_t bucket_of(uint64_t ns) noexcept {
    return Scale::of(std::min(ns, kLimit));
  }

  uint64_t sum_ns() const noexcept { return sum_ns_.get(); }
  uint64_t longest_ns() const noexcept { return longest_ns_.get(); }
  uint64_t in_bucket(size_t bucket) const noexcept { return buckets_[bucket].get(); }

 private:
  Counter sum_ns_;
  Counter longest_ns_;
  Counter buckets_[kBuckets];
};
static_assert(sizeof(LatencyHistogram) == 1856);

}  // namespace sluice::fabric
