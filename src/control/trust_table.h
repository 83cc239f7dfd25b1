// Who exists and who may send to whom: the control thread's tables, and their shadow in the arena
// that workers read. Written from the configuration's `trust:` section, from enrolments and from
// agreements between agents; where the section names a pair, its terms hold. Owned by the control
// thread. An identity keeps its slot for the life of the process.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/clock.h"
#include "base/error.h"
#include "control/agreement_list.h"
#include "control/config.h"
#include "control/edge_limits.h"
#include "control/edge_list.h"
#include "control/latency_places.h"
#include "control/policy_table.h"
#include "control/scope_sets.h"
#include "control/store_rows.h"
#include "control/tenant_rates.h"
#include "crypto/identity.h"
#include "fabric/arena.h"

namespace sluice::control {

// An identity that an agent had before.
struct FormerIdentity {
  crypto::PublicKey identity{};
  Digest statement{};  // by which it handed over
  uint64_t at_ms = 0;
};

struct AgentEntry {
  uint32_t index = fabric::kNone;
  crypto::PublicKey identity{};
  std::string name;
  VirtualAddress address;
  Buffer enrol;                               // Signed Enrol statement
  bool configured = false;                    // stands in the trust: section now
  AgentSource source = AgentSource::kConfig;  // whose word it stands on otherwise
  Visibility visibility = Visibility::kPrivate;
  bool placed = false;      // a worker owns it
  bool durable = false;     // its row is known to be in the store
  uint64_t expires_ms = 0;  // of its admission, Unix; 0: no end
  bool over = false;        // that time has come
  bool revoked = false;
  std::string revoked_reason;
  uint64_t revoked_ms = 0;
  std::vector<FormerIdentity> formers;  // oldest first
  uint64_t last_hello_ms = 0;           // highest time of an accepted HELLO, in memory only

  uint64_t enrol_issued_ms() const;  // of that statement; 0: there is none
  // It is not that of the identity before.
  bool enrolled_as_itself() const;

  bool standing() const { return configured || (source != AgentSource::kConfig && !over); }
  // Unix: it is admitted until then, and what carries its packets lives no longer; 0: no end.
  uint64_t ends_ms() const { return configured ? 0 : expires_ms; }
};

// What a policy would change among standing agreements.
struct PolicyEffect {
  unsigned suspended = 0;  // pairs that it denies
  unsigned resumed = 0;    // pairs that the one before denied
  unsigned changed = 0;    // on other terms, or ending at another time
  unsigned ended = 0;      // older than it lets them be: over for good
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
      : arena_(arena),
        clock_(clock),
        rates_(arena, clock),
        limits_(arena, clock),
        scopes_(arena, clock),
        latency_places_(arena) {}

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

  // An enrolment that is durable: a new agent, or one whose row changed. kResource when the table
  // is full.
  Result<uint32_t> enrol(const AgentRow& row);
  // Locks out those whose admission ended before `unix_ms`, at most `most`; these. Their pairs have
  // no edges while it is over, and are told of by open_waiting().
  std::vector<uint32_t> end_admissions(uint64_t unix_ms, size_t most);
  // The agent goes on under another identity, which is durable. Its prepared key and its Enrol are
  // still of the former one.
  void rotate(uint32_t agent, const crypto::PublicKey& successor, const Digest& statement,
              uint64_t at_ms);
  // What a transaction that failed may still have written; the agents concerned.
  std::vector<uint32_t> catch_up(const Snapshot& snapshot);
  // Who had that identity before; null: nobody.
  const AgentEntry* successor_of(const crypto::PublicKey& former) const;
  // Nobody has it, had it, or was revoked under it.
  bool is_free(const crypto::PublicKey& identity) const;
  VirtualAddress fresh_address(uint16_t tenant) const;
  bool full() const { return agents_.size() >= arena_.sizes().agents; }

  // An agreement that is durable; replaces an earlier one of the pair. False: every edge slot
  // rests, and the pair opens once one is free.
  bool agree(Agreement agreement, const GrantedScopes& scopes = {});
  const Agreement* agreement(PairKey pair) const;
  // The agreement of that agent that was made by the statement, as request or as grant, whether its
  // edges stand or not.
  const Agreement* agreement_of(uint32_t agent, const Digest& statement) const;
  std::vector<PairKey> agreements_of(uint32_t agent) const { return agreements_.of(agent); }
  // The trust: section names the pair: its edges stand whatever the agents agree on.
  bool is_configured(PairKey pair) const { return configured_pairs_.contains(pair); }
  size_t agreement_count() const { return agreements_.size(); }

  // The operator's policy stands over agreements; pairs of the trust: section are its own word.
  const PolicyTable& policy() const { return policy_; }
  PolicyEffect effect_of(const Policy& policy) const;
  // In force at once: what it denies is closed, as step 1 of a revocation. The pairs that changed.
  std::vector<PairKey> set_policy(Policy policy);
  // Step 1 of a pair's revocation, and its end by time: both edges close at once.
  void end_agreement(PairKey pair);
  // Ends those that a store read again does not hold; these.
  std::vector<PairKey> end_agreements_but(const Snapshot& snapshot);
  // Pairs whose agreement ended before `unix_ms`, at most `most`; they are closed already.
  std::vector<PairKey> expired(uint64_t unix_ms, size_t most) const;
  // Opens pairs that waited for slots, once some have rested; these, and those that changed because
  // an agent has another name.
  std::vector<PairKey> open_waiting();
  // Slots that a pair could open in now.
  size_t free_slots() const { return arena_.edges().size() - next_slot_ + rested(); }

  AgentEntry* by_identity(const crypto::PublicKey& identity);
  const AgentEntry* by_identity(const crypto::PublicKey& identity) const;
  AgentEntry* by_address(VirtualAddress address);
  // The agent of that name in that tenant: one that stands, or keeps its name for when it is
  // admitted again.
  AgentEntry* by_name(uint16_t tenant, const std::string& name);
  AgentEntry& agent(uint32_t index) { return agents_[index]; }
  // A DID, an address or a name, in one tenant or all. Null, with the reason: kNotFound; kConflict
  // where several tenants have one of that name.
  AgentEntry* resolve(const std::string& text, Error* why = nullptr,
                      std::optional<uint16_t> tenant = {});
  const std::vector<AgentEntry>& agents() const { return agents_; }
  std::vector<EdgeEntry> edges_of(uint32_t agent) const;
  const EdgeList& edges() const { return edges_; }
  TenantRates& rates() { return rates_; }
  EdgeLimits& limits() { return limits_; }
  const EdgeLimits& limits() const { return limits_; }
  ScopeSets& scopes() { return scopes_; }
  // Tenants' parts of their rates, and windows that open or close.
  void poll() {
    rates_.poll();
    limits_.poll();
  }
  // The clock was set: every end is at another tick.
  void clock_was_set() { limits_.clock_was_set(edges_); }
  const LatencyPlaces& latency_places() const { return latency_places_; }

  // Step 1 of a revocation: one atomic store, then the table catches up.
  void mark_revoked(AgentEntry& agent, const std::string& reason, uint64_t at_ms);
  // After the cut: closes every edge from and to the agent. Returns its former peers.
  std::vector<uint32_t> close_edges(const AgentEntry& agent);

 private:
  Result<uint32_t> add_agent(const AgentRow& row);
  // What a pair's edges should be now; none: it has none.
  struct Wanted {
    EdgeTerms forward;  // from the lower index
    EdgeTerms backward;
    uint32_t agreement = 0;
    uint64_t expires_ms = 0;
  };
  std::optional<Wanted> wanted(PairKey pair) const;
  std::optional<Wanted> agreed(const Agreement& agreement, const PolicyTable& policy) const;
  uint64_t end_of(const Agreement& agreement, const PolicyTable& policy) const;
  void set_end(Agreement& agreement);
  size_t rested() const;
  enum class Settled : uint8_t { kSame, kChanged, kWaiting };
  Settled settle(PairKey pair);
  bool open_pair(PairKey pair, const Wanted& w);
  void close_pair(PairKey pair);
  void forget(PairKey pair);
  EdgeTerms configured_terms(EdgeRight right, const TrustPair& pair, const RateConfig& rate,
                             const CallTerms& calls);
  void rename(AgentEntry& entry, const std::string& name);
  void judge_anew(const AgentEntry& entry);
  void set_admission(AgentEntry& entry, uint64_t expires_ms);
  void settle_all_of(uint32_t agent);
  uint32_t take_slot();
  void close_slot(uint32_t slot, fabric::EdgeState state);

  fabric::Arena& arena_;
  const Clock& clock_;
  TenantRates rates_;
  EdgeLimits limits_;
  ScopeSets scopes_;
  LatencyPlaces latency_places_;
  std::set<uint16_t> tenants_;                                  // of those agents
  std::map<VirtualAddress, uint32_t> addresses_;                // of all agents ever
  std::map<std::pair<uint16_t, std::string>, uint32_t> names_;  // the last one called so
  std::vector<AgentEntry> agents_;
  // Agents choose their identities: a hash that they cannot compute keeps the table flat.
  struct IdentityHash {
    uint64_t seed = crypto::random_u64();
    size_t operator()(const crypto::PublicKey& k) const {
      return load_le<uint64_t>(k.data() + 8) ^ seed;
    }
  };
  boost::unordered_flat_map<crypto::PublicKey, uint32_t, IdentityHash> by_identity_;
  std::map<crypto::PublicKey, uint32_t> formers_;           // agents by identities that they had
  std::map<crypto::PublicKey, RevocationRow> revocations_;  // also of identities without a row
  EdgeList edges_;
  struct ConfiguredPair {
    EdgeTerms forward, backward;
  };
  boost::unordered_flat_map<PairKey, ConfiguredPair> configured_pairs_;
  AgreementList agreements_;
  PolicyTable policy_;
  std::set<std::pair<uint64_t, PairKey>> expiries_;     // of agreements that have an end
  std::set<std::pair<uint64_t, uint32_t>> admissions_;  // that have an end, and are not over
  // Pairs that changed with a name or an admission, until open_waiting() tells.
  std::vector<PairKey> renamed_;
  std::set<PairKey> waiting_;  // pairs that found no slot
  uint32_t next_agreement_ = 1;
  struct Resting {
    uint32_t slot;
    uint64_t until;
  };
  std::deque<Resting> resting_;
  uint32_t next_slot_ = 1;  // label 0 means "none" in frames without an edge
};

}  // namespace sluice::control
