// Edges by slot, by their two agents, and by the agent that they start from. A million of them are
// opened at a start, so nothing here allocates for each. Control thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <boost/unordered/unordered_flat_map.hpp>

#include "control/config.h"
#include "fabric/records.h"
#include "wire/call.h"

namespace sluice::control {

// What one direction of a pair may do. Workers read an edge's terms without synchronisation, so
// they never change in place: a pair on other terms is a new pair.
struct EdgeTerms {
  EdgeRight right = EdgeRight::kMaySend;
  fabric::SealPolicy seal = fabric::SealPolicy::kFull;
  // What calls may use: bits of wire/call.h. The relay's own pairs leave it to the two agents.
  uint8_t capabilities = wire::kAllCapabilities;
  uint8_t protocols = wire::kAllProtocols;
  RateConfig rate;
  uint32_t calls = 0;                   // what holds them, by its number in CallTermsList
  CallQuota granted;                    // of the grant; the operator's is among those
  uint32_t scopes = fabric::kAnyScope;  // a set of ScopeSets, kNoScope or kAnyScope

  friend bool operator==(const EdgeTerms&, const EdgeTerms&) = default;
};

struct EdgeEntry {
  uint32_t slot = fabric::kNone;
  uint32_t from = fabric::kNone;  // agent indices
  uint32_t to = fabric::kNone;
  EdgeTerms terms;
  uint32_t label = 0;
  uint32_t agreement = 0;  // its number; 0: the configuration's
  uint64_t expires_ms = 0;
};

class EdgeList {
 public:
  // Room for so many, so that a start moves nothing.
  void reserve(size_t agents, size_t edges);
  void add(const EdgeEntry& edge);
  void remove(uint32_t slot);  // must be there

  const EdgeEntry& at(uint32_t slot) const { return rows_[slot].edge; }
  bool contains(uint32_t slot) const {
    return slot < rows_.size() && rows_[slot].edge.slot == slot;
  }
  // kNone: there is none.
  uint32_t slot_of(uint32_t from, uint32_t to) const;
  // Slots of the edges that start there, in no order.
  std::span<const uint32_t> of(uint32_t agent) const;
  size_t size() const { return by_pair_.size(); }
  bool empty() const { return by_pair_.empty(); }

 private:
  struct Row {
    EdgeEntry edge;
    uint32_t place = 0;  // in its agent's list
  };

 public:
  // By slot.
  class Iterator {
   public:
    Iterator(const Row* at, const Row* end) : at_(at), end_(end) { skip(); }
    const EdgeEntry& operator*() const { return at_->edge; }
    const EdgeEntry* operator->() const { return &at_->edge; }
    Iterator& operator++() {
      ++at_;
      skip();
      return *this;
    }
    bool operator!=(const Iterator& o) const { return at_ != o.at_; }

   private:
    void skip() {
      while (at_ != end_ && at_->edge.slot == fabric::kNone) ++at_;
    }
    const Row *at_, *end_;
  };
  Iterator begin() const { return {rows_.data(), rows_.data() + rows_.size()}; }
  Iterator end() const { return {rows_.data() + rows_.size(), rows_.data() + rows_.size()}; }

 private:
  std::vector<Row> rows_;                    // by slot
  std::vector<std::vector<uint32_t>> from_;  // slots, by agent
  boost::unordered_flat_map<uint64_t, uint32_t> by_pair_;
};

}  // namespace sluice::control
