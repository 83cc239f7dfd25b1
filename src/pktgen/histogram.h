// Durations in nanoseconds, counted log-linearly: exact below 128 ns, within 1/128 above, up to
// 10 s; what is longer counts as 10 s, but the maximum is exact. One writer; read when it rests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/log_buckets.h"

namespace sluice::pktgen {

class Histogram {
 public:
  static constexpr unsigned kBits = 7;  // 128 buckets an octave
  static constexpr uint64_t kLimit = 10'000'000'000;

  Histogram() : buckets_(bucket_of(kLimit) + 1) {}

  void add(uint64_t ns, uint64_t times = 1) noexcept {
    buckets_[bucket_of(std::min(ns, kLimit))] += times;
    count_ += times;
    max_ = std::max(max_, ns);
  }

  void merge(const Histogram& other) noexcept {
    for (size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    max_ = std::max(max_, other.max_);
  }

  void clear() noexcept {
    std::fill(buckets_.begin(), buckets_.end(), 0);
    count_ = 0;
    max_ = 0;
  }

  uint64_t count() const noexcept { return count_; }
  uint64_t max() const noexcept { return max_; }

  // The largest value of the bucket in which the share `q` (0 to 1) of all values is reached.
  uint64_t quantile(double q) const noexcept {
    if (count_ == 0) return 0;
    const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * double(count_))));
    uint64_t seen = 0;
    for (size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen >= wanted) return std::min(last_of(i), max_);
    }
    return max_;
  }

  static constexpr size_t bucket_of(uint64_t ns) noexcept { return Buckets::of(ns); }
  static constexpr uint64_t last_of(size_t bucket) noexcept { return Buckets::last(bucket); }

 private:
  using Buckets = LogBuckets<kBits>;

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace sluice::pktgen
