// Who exists and who may send to whom: the control thread's tables, and their shadow in the arena
// that workers read. Written from the configuration's `trust:` section and the store; owned by the
// control thread. An identity keeps its slot for the life of the process.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/clock.h"
#include "base/error.h"
#include "control/config.h"
#include "control/store_rows.h"
#include "control/tenant_rates.h"
#include "crypto/identity.h"
#include "fabric/arena.h"

namespace sluice::control {

struct AgentEntry {
  uint32_t index = fabric::kNone;
  crypto::PublicKey identity{};
  std::string name;
  VirtualAddress address;
  Buffer enrol;             // Signed Enrol statement
  bool configured = false;  // stands in the trust: section now
  bool durable = false;     // its row is known to be in the store
  bool revoked = false;
  std::string revoked_reason;
  uint64_t revoked_ms = 0;
  uint64_t last_hello_ms = 0;  // highest time of an accepted HELLO, in memory only
};

// What one direction of a pair may do. Workers read an edge's terms without synchronisation, so
// they never change in place: a pair on other terms is a new pair.
struct EdgeTerms {
  EdgeRight right = EdgeRight::kMaySend;
  fabric::SealPolicy seal = fabric::SealPolicy::kFull;
  RateConfig rate;

  friend bool operator==(const EdgeTerms&, const EdgeTerms&) = default;
};

struct EdgeEntry {
  uint32_t slot = fabric::kNone;
  uint32_t from = fabric::kNone;  // agent indices
  uint32_t to = fabric::kNone;
  EdgeTerms terms;
  uint32_t label = 0;
};

struct TrustChange {
  std::vector<AgentRow> new_agents;  // to be stored before they may connect
  std::vector<uint32_t> touched;     // agents whose set of edges changed
  std::vector<uint32_t> removed;     // agents that may no longer connect
  unsigned agents = 0, pairs = 0;    // now in force
  unsigned waiting = 0;              // pairs without a slot until resting ones are free again
};

class TrustTable {
 public:
  TrustTable(fabric::Arena& arena, const Clock& clock)
      : arena_(arena), clock_(clock), rates_(arena, clock) {}

  // What the store knows, at start: addresses, names and revocations, none of them configured yet.
  void restore(const Snapshot& snapshot);
  // What a transaction that failed may still have written; only adds revocations,
  // and returns the agents that it found revoked.
  std::vector<uint32_t> reconcile(const Snapshot& snapshot);

  // Makes the tables equal to the configuration. kResource when limits: are too small; nothing has
  // changed then. New agents have addresses at once but are inactive until they are stored:
  // `new_agents` names every configured one that is not, also those of an earlier failed try.
  Result<TrustChange> apply(const TrustConfig& trust);
  void mark_durable(const std::vector<AgentRow>& rows);
  // Lets in every configured, durable agent that is not revoked.
  void activate();

  AgentEntry* by_identity(const crypto::PublicKey& identity);
  AgentEntry& agent(uint32_t index) { return agents_[index]; }
  // A DID, an address or a name.
  AgentEntry* resolve(const std::string& text);
  const std::vector<AgentEntry>& agents() const { return agents_; }
  std::vector<EdgeEntry> edges_of(uint32_t agent) const;
  const std::map<uint32_t, EdgeEntry>& edges() const { return edges_; }
  TenantRates& rates() { return rates_; }

  // Step 1 of a revocation: one atomic store, then the table catches up.
  void mark_revoked(AgentEntry& agent, const std::string& reason, uint64_t at_ms);
  // After the cut: closes every edge from and to the agent. Returns its former peers.
  std::vector<uint32_t> close_edges(const AgentEntry& agent);

 private:
  Result<uint32_t> add_agent(const AgentRow& row);
  VirtualAddress fresh_address(uint16_t tenant) const;
  bool open_pair(uint32_t a, uint32_t b, const EdgeTerms& ab, const EdgeTerms& ba);
  uint32_t take_slot();
  void close_slot(uint32_t slot, fabric::EdgeState state);

  fabric::Arena& arena_;
  const Clock& clock_;
  TenantRates rates_;
  std::set<VirtualAddress> addresses_;  // of all agents ever
  std::vector<AgentEntry> agents_;
  std::map<crypto::PublicKey, uint32_t> by_identity_;
  std::map<crypto::PublicKey, RevocationRow> revocations_;  // also of identities without a row
  std::map<uint32_t, EdgeEntry> edges_;                     // by slot
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> slot_of_pair_;  // (from, to)
  struct Resting {
    uint32_t slot;
    uint64_t until;
  };
  std::deque<Resting> resting_;
  uint32_t next_slot_ = 1;  // label 0 means "none" in frames without an edge
};

}  // namespace sluice::control
