// Delays that double up to a limit, each with jitter over its upper half, so that many agents that
// lost their relay together do not come back together. Plain value, milliseconds.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::agent {

class Backoff {
 public:
  // Delays lie between `least_ms` and `most_ms`; the first within [least, 2 least].
  constexpr Backoff(uint64_t least_ms, uint64_t most_ms)
      : least_(least_ms), most_(most_ms), ceiling_(2 * least_ms) {}

  uint64_t next(uint64_t random) noexcept {
    const uint64_t ceiling = std::min(ceiling_, most_);
    ceiling_ = std::min(2 * ceiling, most_);
    return ceiling / 2 + random % (ceiling / 2 + 1);
  }
  void reset() noexcept { ceiling_ = 2 * least_; }

 private:
  uint64_t least_;
  uint64_t most_;
  uint64_t ceiling_;
};

}  // namespace sluice::agent
