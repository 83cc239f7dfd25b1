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

  // Whether `hold` would find room for both. One tenant has half of the places at most, those that
  // rest included, so that nobody's agents can take all of them.
  bool has_room(uint16_t tenant, const std::vector<uint64_t>& one,
                const std::vector<uint64_t>& other) const;

  // The number of that set, for Edge::scopes, held until it is released. `scopes`: as envelopes
  // name them, in any order, at most ScopeSet::kMost. kNoScope where there is none, and where there
  // is no room for it: nothing is granted then, and `full` counts.
  // `tenant`: whose place it is, if it is new.
  uint32_t hold(uint16_t tenant, std::vector<uint64_t> scopes);
  void release(uint32_t number);
  uint64_t full() const { return full_; }

 private:
  using Set = std::vector<uint64_t>;
  struct Held {
    uint32_t number = 0;
    uint32_t holders = 0;
    uint16_t tenant = 0;
  };
  struct Resting {
    uint32_t number;
    uint64_t until;  // ticks
    uint16_t tenant;
  };
  static Set canonical(Set scopes);
  size_t free_places() const;

  fabric::Arena& arena_;
  const Clock& clock_;
  std::map<Set, Held> held_;
  std::vector<std::map<Set, Held>::iterator> by_number_;
  std::deque<Resting> resting_;
  std::map<uint16_t, uint32_t> taken_;  // places by tenant, resting ones too
  uint32_t next_ = 0;
  uint64_t full_ = 0;
};

}  // namespace sluice::control
