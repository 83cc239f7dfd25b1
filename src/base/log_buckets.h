// Numbers counted log-linearly: exact below 2^(kBits + 1), from there on 2^kBits buckets an octave,
// so within 1 / 2^kBits. The arithmetic alone; what counts is a histogram's own. Any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace sluice {

template <unsigned kBits>
struct LogBuckets {
  static constexpr size_t of(uint64_t n) noexcept {
    const unsigned width = static_cast<unsigned>(std::bit_width(n));
    if (width <= kBits + 1) return static_cast<size_t>(n);
    const unsigned shift = width - kBits - 1;
    return (size_t{shift} << kBits) + static_cast<size_t>(n >> shift);
  }
  // The largest number of the bucket.
  static constexpr uint64_t last(size_t bucket) noexcept {
    if (bucket < size_t{2} << kBits) return bucket;
    const unsigned shift = static_cast<unsigned>((bucket >> kBits) - 1);
    return (((bucket & ((1u << kBits) - 1)) + (1u << kBits) + 1) << shift) - 1;
  }
};

}  // namespace sluice
