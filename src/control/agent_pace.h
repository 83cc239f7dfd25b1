// How fast one agent may ask control for what costs it work: a token bucket for each agent that
// asked. Control thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <unordered_map>

#include "base/clock.h"

namespace sluice::control {

class AgentPace {
 public:
  explicit AgentPace(const Clock& clock) : clock_(clock) {}

  bool allow(uint32_t agent) {
    const uint64_t now = clock_.ticks();
    Bucket& b = buckets_.try_emplace(agent, Bucket{kAtOnce, now}).first->second;
    b.tokens = std::min(kAtOnce, b.tokens + double(now - b.at) * kPerSecond / double(clock_.hz()));
    b.at = now;
    if (b.tokens < 1) return false;
    b.tokens -= 1;
    return true;
  }

 private:
  static constexpr double kPerSecond = 10;  // each may be a signature to check
  static constexpr double kAtOnce = 20;
  struct Bucket {
    double tokens;
    uint64_t at;
  };
  const Clock& clock_;
  std::unordered_map<uint32_t, Bucket> buckets_;
};

}  // namespace sluice::control
