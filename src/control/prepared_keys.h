// Prepared keys of enrolled identities (crypto/prepared_key.h), in the arena, for whoever verifies:
// made on the control thread when an identity was first met, some at a time and at a bounded rate;
// when there is no room, in the place of one that was not used for a round of the clock. An agent's
// record names its key's slot; a slot is filled again only when no worker can still read it.
// Control thread. Without lanes (batch_engine) nothing is prepared.
#pragma once

#include <deque>
#include <vector>

#include "base/clock.h"
#include "crypto/ed25519_batch.h"
#include "fabric/arena.h"
#include "fabric/rcu.h"

namespace sluice::control {

class PreparedKeys {
 public:
  // Groups of eight keys, which cost about 65 us whether they are full or not: 3 % of a core.
  static constexpr uint32_t kGroupsPerSecond = 500;

  PreparedKeys(fabric::Arena& arena, fabric::Qsbr& qsbr, const Clock& clock,
               const crypto::lanes::Engine* engine = crypto::batch_engine(),
               fabric::Qsbr* verifiers = nullptr);

  // The agent's prepared key, valid until `poll`; or none.
  const crypto::PreparedKey* find(uint32_t agent) const;
  // The agent showed its identity: its key keeps its place, or is asked for.
  void met(uint32_t agent, const crypto::PublicKey& identity);

  // The agent has another identity from now on.
  void forget(uint32_t agent);

  // Prepares some of what was asked for. True if it did.
  bool poll();
  // Work waits.
  bool backlog() const { return !wanted_.empty(); }

  struct Counts {
    uint64_t prepared = 0;  // ever
    uint64_t evicted = 0;   // ever
    uint32_t ready = 0;     // now
    uint32_t room = 0;
  };
  Counts counts() const;

 private:
  static constexpr size_t kMaxWanted = 4096;
  struct Slot {
    uint32_t agent = fabric::kNone;
    bool used = false;     // since the clock's hand last passed
    bool resting = false;  // taken from its agent, until `token`
    uint64_t token = 0;
    uint64_t verifiers_token = 0;
  };
  struct Wanted {
    uint32_t agent;
    crypto::PublicKey identity;
  };
  void refill();
  void make_room(size_t slots);
  void rest(uint32_t slot);

  fabric::Arena& arena_;
  fabric::Qsbr& qsbr_;
  fabric::Qsbr* const verifiers_;  // others that read keys; null: there are none
  const Clock& clock_;
  const bool enabled_;
  crypto::Ed25519BatchVerifier maker_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::deque<uint32_t> resting_;
  size_t hand_ = 0;
  std::deque<Wanted> wanted_;
  std::vector<bool> is_wanted_;  // by agent
  double tokens_ = 1;            // groups
  uint64_t tokens_at_;
  uint64_t prepared_ = 0, evicted_ = 0;
};

}  // namespace sluice::control
