// The windows of edges as workers know them: until which tick an edge is open. Workers close an
// edge by themselves; it opens when control says so, so a relay whose control stands still opens
// nothing. Control thread.
#pragma once

#include <map>
#include <set>

#include "base/clock.h"
#include "control/call_terms.h"
#include "fabric/arena.h"

namespace sluice::control {

class EdgeHours {
 public:
  EdgeHours(fabric::Arena& arena, const Clock& clock, const CallTermsList& terms)
      : arena_(arena), clock_(clock), terms_(terms) {}

  // Ticks of an instant of the relay's clock; ~0 for 0, which is never.
  uint64_t ticks_at(uint64_t unix_ms) const;

  // Before the edge is published: its record's times. `terms`: their number.
  void set(uint32_t slot, uint32_t terms, uint64_t expires_ms);
  void remove(uint32_t slot, uint32_t terms);
  // Edges whose windows opened or closed since; how soon that happens again does not matter to who
  // calls this with each round.
  void poll();
  // The clock was set: ticks of instants are others now. `expires_ms`: of an edge.
  template <typename EachEdge>
  void clock_was_set(EachEdge&& each) {
    for (auto& [number, group] : groups_) judge(number, group);
    each([this](uint32_t slot, uint32_t terms, uint64_t expires_ms) {
      write(slot, terms, expires_ms);
    });
  }

 private:
  struct Group {
    WindowState state;
    std::map<uint32_t, uint64_t> edges;  // when each expires
  };
  void judge(uint32_t number, Group& group);
  void write(uint32_t slot, uint32_t terms, uint64_t expires_ms);

  fabric::Arena& arena_;
  const Clock& clock_;
  const CallTermsList& terms_;
  std::map<uint32_t, Group> groups_;                 // with windows, by number of terms
  std::set<std::pair<uint64_t, uint32_t>> changes_;  // Unix ms, number of terms
};

}  // namespace sluice::control
