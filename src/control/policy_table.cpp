#include "control/policy_table.h"

#include <algorithm>

#include "control/trust_table.h"

namespace sluice::control {
namespace {

template <typename Fits>
Fits find_fits(const Policy& policy, const PolicySubject& subject) {
  Fits out;
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    if (matches(policy, policy.rules[i].from, subject)) out.as_from.push_back(i);
    if (matches(policy, policy.rules[i].to, subject)) out.as_to.push_back(i);
  }
  return out;
}

}  // namespace

void PolicyTable::set(Policy policy) {
  policy_ = std::move(policy);
  unknown_ = find_fits<Fits>(policy_, {});
  fits_.clear();
}

void PolicyTable::forget(uint32_t agent) {
  if (agent < fits_.size()) fits_[agent].reset();
}

const PolicyTable::Fits& PolicyTable::fits(const AgentEntry& agent) const {
  if (agent.index >= fits_.size()) fits_.resize(agent.index + 1);
  auto& slot = fits_[agent.index];
  if (!slot) {
    PolicySubject subject{agent.identity, agent.name, agent.address.tenant};
    for (const FormerIdentity& f : agent.formers) subject.formers.push_back(f.identity);
    slot = find_fits<Fits>(policy_, subject);
  }
  return *slot;
}

PolicyDecision PolicyTable::decide(const AgentEntry& from, const AgentEntry* to) const {
  if (policy_.rules.empty()) return {.action = policy_.otherwise, .bounds = {}, .rules = {}};
  // Both before either is referred to: a look at a new one moves the others.
  (void)fits(from);
  if (to != nullptr) (void)fits(*to);
  const auto& asks = fits(from).as_from;
  const auto& asked = to == nullptr ? unknown_.as_to : fits(*to).as_to;
  std::vector<size_t> candidates;
  std::set_intersection(asks.begin(), asks.end(), asked.begin(), asked.end(),
                        std::back_inserter(candidates));
  return sluice::control::decide(policy_, candidates);
}

}  // namespace sluice::control
