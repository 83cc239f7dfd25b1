// What the arena says of an edge beyond its ends and rights: rates, limits of its calls, and the
// times at which it is open. What was used of a quota stays with the two agents while its period
// lasts, whatever becomes of their edges. Control thread.
#pragma once

#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "control/edge_hours.h"
#include "control/edge_list.h"

namespace sluice::control {

// What is used of one of an edge's quotas.
struct QuotaUse {
  CallQuota quota;
  uint32_t used = 0;
  uint64_t ends_ms = 0;  // Unix: of the period; 0: none has begun

  bool operator==(const QuotaUse&) const = default;
};

class EdgeLimits {
 public:
  EdgeLimits(fabric::Arena& arena, const Clock& clock);

  CallTermsList& terms() { return terms_; }
  const CallTermsList& terms() const { return terms_; }

  // Whether edges on these terms can be opened now, in that order.
  bool has_room(const EdgeTerms& one, const EdgeTerms& other);
  // Agents' own quotas take half of the places at most: the rest is the operator's.
  bool has_room_for_grants() const;
  // Before the edge of that slot is published, after has_room().
  void open(const EdgeEntry& edge);
  void close(const EdgeEntry& edge);

  // Windows that open or close by the clock.
  void poll() { hours_.poll(); }
  template <typename Edges>
  void clock_was_set(const Edges& edges) {
    hours_.clock_was_set([&](auto&& write) {
      for (const EdgeEntry& e : edges) write(e.slot, e.terms.calls, e.expires_ms);
    });
  }

  // Of an open edge; those that have begun.
  std::vector<QuotaUse> used(const EdgeEntry& edge) const;
  // What an earlier life of the relay counted between two agents.
  void restore(uint32_t from, uint32_t to, const QuotaUse& use);
  struct Change {
    uint32_t from, to;
    QuotaUse use;
  };
  // What was used since this was last asked, to be kept.
  std::vector<Change> take_changes();
  // It could not be: all of it is a change again.
  void keep_all_again();

 private:
  using Ends = std::pair<uint32_t, uint32_t>;  // agents, from and to
  struct Resting {
    uint32_t place;
    uint64_t until;  // ticks
    bool granted;
  };
  bool is_granted(const EdgeTerms& terms) const;
  bool needs_place(const EdgeTerms& terms) const;
  size_t places() const;
  uint32_t take_place();
  void forget_old();
  void write_calls(fabric::EdgeCalls& record, const EdgeEntry& edge);

  fabric::Arena& arena_;
  const Clock& clock_;
  CallTermsList terms_;
  EdgeHours hours_;
  std::deque<Resting> resting_;
  uint32_t next_place_ = 0;
  size_t granted_ = 0;  // places, resting ones too, that agents' own quotas took
  uint64_t forgot_ms_ = 0;
  bool told_full_ = false;
  std::map<Ends, std::vector<QuotaUse>> uses_;  // of edges that were closed in a period
  struct Counted {
    EdgeEntry edge;
    std::vector<QuotaUse> kept;
  };
  std::map<uint32_t, Counted> counted_;  // edges with quotas, by slot
  std::vector<Change> changes_;          // of those that were closed
};

}  // namespace sluice::control
