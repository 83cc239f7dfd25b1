// The policy in force, over the agents of the trust table: which rules fit whom is found once for
// each agent. Control thread.
#pragma once

#include <optional>
#include <vector>

#include "control/policy.h"

namespace sluice::control {

struct AgentEntry;

class PolicyTable {
 public:
  const Policy& policy() const { return policy_; }
  void set(Policy policy);
  // Its name has changed.
  void forget(uint32_t agent);
  // `to` null: somebody unknown.
  PolicyDecision decide(const AgentEntry& from, const AgentEntry* to) const;
  // Whether there could be somebody whom it may ask: some rule that fits the asker, or the default,
  // passes `allows`. Depends on no receiver.
  template <typename Allows>
  bool may_ask_somebody(const AgentEntry& from, Allows&& allows) const {
    if (allows(PolicyDecision{.action = policy_.otherwise, .bounds = {}, .rules = {}})) return true;
    for (const size_t i : fits(from).as_from) {
      const PolicyRule& r = policy_.rules[i];
      if (allows(PolicyDecision{.action = r.action, .bounds = r.bounds, .rules = {}})) return true;
    }
    return false;
  }

 private:
  struct Fits {
    std::vector<size_t> as_from, as_to;  // rules, ascending
  };
  const Fits& fits(const AgentEntry& agent) const;

  Policy policy_;
  Fits unknown_;
  mutable std::vector<std::optional<Fits>> fits_;  // by agent, as they are asked for
};

}  // namespace sluice::control
