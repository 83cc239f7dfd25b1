// Agreements by their pair of agents and by the statements that made them. Control thread.
#pragma once

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "control/edge_list.h"
#include "control/store_rows.h"

namespace sluice::control {

// Two agents by index, the lower one first.
using PairKey = std::pair<uint32_t, uint32_t>;
inline PairKey pair_key(uint32_t a, uint32_t b) {
  return {std::min(a, b), std::max(a, b)};
}

// What two agents agreed on by a request and a grant, or by two requests that crossed.
struct Agreement {
  uint32_t number = 0;  // given by the trust table
  Digest request{};
  Digest grant{};
  uint32_t requester = fabric::kNone;  // agent indices
  uint32_t approver = fabric::kNone;
  EdgeTerms forward;  // requester to approver
  EdgeTerms backward;
  uint64_t made_ms = 0;     // Unix
  uint64_t expires_ms = 0;  // as the agents agreed; 0: no end
  // In force, given by the table: the policy may end it sooner.
  uint64_t ends_ms = 0;

  PairKey pair() const { return pair_key(requester, approver); }
};

// As envelopes name them.
struct GrantedScopes {
  std::vector<uint64_t> forward, backward;
};

class AgreementList {
 public:
  void reserve(size_t agreements) {
    by_pair_.reserve(agreements);
    by_statement_.reserve(2 * agreements);
  }
  // In the place of an earlier one of the pair. What is returned stays where it is until removed.
  Agreement& set(Agreement agreement);
  void remove(PairKey pair);  // must be there
  Agreement* find(PairKey pair);
  const Agreement* find(PairKey pair) const;
  // The one that this statement made, as request or as grant.
  const Agreement* made_by(const Digest& statement) const;
  size_t size() const { return by_pair_.size(); }
  // Pairs of the agreements of one agent, in no order.
  std::vector<PairKey> of(uint32_t agent) const;

  template <typename Visit>
  void each(Visit&& visit) {
    for (Row& r : rows_) {
      if (r.agreement.requester != fabric::kNone) visit(r.agreement);
    }
  }
  template <typename Visit>
  void each(Visit&& visit) const {
    for (const Row& r : rows_) {
      if (r.agreement.requester != fabric::kNone) visit(r.agreement);
    }
  }

 private:
  // Half of a digest: nobody finds two statements that share as much with somebody else's.
  using Half = std::pair<uint64_t, uint64_t>;
  static Half half(const Digest& d) {
    return {load_le<uint64_t>(d.data()), load_le<uint64_t>(d.data() + 8)};
  }

  struct Row {
    Agreement agreement;
    uint32_t places[2] = {};  // in the lists of requester and approver
  };
  void enlist(uint32_t row, int side);
  void delist(uint32_t row, int side);

  std::deque<Row> rows_;
  std::vector<std::vector<uint32_t>> by_agent_;  // rows
  std::vector<uint32_t> free_;
  boost::unordered_flat_map<PairKey, uint32_t> by_pair_;
  boost::unordered_flat_map<Half, uint32_t> by_statement_;
};

}  // namespace sluice::control
