// The two clocks that the agent's state machines are driven by; nothing in them reads a clock
// itself.
#pragma once

#include <cstdint>

namespace sluice::agent {

struct Now {
  uint64_t mono_ms = 0;  // never goes back; timers and ages
  uint64_t unix_ms = 0;  // what is written down or signed; may jump
};

inline constexpr uint64_t kNever = ~uint64_t{0};

}  // namespace sluice::agent
