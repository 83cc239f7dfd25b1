// The sets of scopes that standing agreements grant, each once, where workers look them up. A set
// that no agreement has any more rests before its place is used again. Control thread.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "base/clock.h"
#include "fabric/arena.h"

namespace sluice::control {

class ScopeSets {
 public:
  ScopeSets(fabric::Arena& arena, const Clock& clock) : arena_(arena), clock_(clock) {}

  // The number of that set, for Edge::scopes, held until it is released. `scopes`: as envelopes
  // name them, in any order, at most ScopeSet::kMost. kNoScope where there is none, and where there
  // is no room for it: nothing is granted then, and `full` counts.
  uint32_t hold(std::vector<uint64_t> scopes);
  void release(uint32_t number);
  uint64_t full() const { return full_; }

 private:
  struct Held {
    uint32_t number = 0;
    uint32_t holders = 0;
  };
  struct Resting {
    uint32_t number;
    uint64_t until;  // ticks
  };
  using Set = std::vector<uint64_t>;

  fabric::Arena& arena_;
  const Clock& clock_;
  std::map<Set, Held> held_;
  std::vector<std::map<Set, Held>::iterator> by_number_;
  std::deque<Resting> resting_;
  uint32_t next_ = 0;
  uint64_t full_ = 0;
};

}  // namespace sluice::control
