// What the operator's policy says of two agents: who may ask whom, who is approved without asking
// back, and the bounds of what they may agree on. The most specific rule wins; among equally
// specific ones the strictest, and their bounds hold together, so the order in the file means
// nothing. Plain values, no state, no clock.
#pragma once

#include <compare>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "control/config.h"
#include "crypto/identity.h"

namespace sluice::control {

// Each is stricter than the one before.
enum class PolicyAction : uint8_t { kApprove, kAsk, kDeny };
std::string_view name_of(PolicyAction action);

// Which agents a rule means; what is not given fits everybody.
struct PolicyPattern {
  std::optional<crypto::PublicKey> did;
  std::string name;  // '*' stands for any characters, '?' for one
  std::string role;
  std::optional<uint16_t> tenant;

  friend bool operator==(const PolicyPattern&, const PolicyPattern&) = default;
};

struct PolicyRole {
  std::string name;
  std::vector<PolicyPattern> members;  // patterns without a role

  friend bool operator==(const PolicyRole&, const PolicyRole&) = default;
};

struct PolicyBounds {
  uint64_t longest_ms = 0;  // of an agreement; 0: not bounded
  // What may be asked for and offered; none: everything.
  std::optional<std::set<std::string>> scopes, protocols;
  std::optional<fabric::SealPolicy> seal;
  RateConfig rate;
  CallTerms calls;  // and the windows of all that goes over the edge

  friend bool operator==(const PolicyBounds&, const PolicyBounds&) = default;
};

struct PolicyRule {
  PolicyPattern from, to;
  PolicyAction action = PolicyAction::kAsk;
  PolicyBounds bounds;

  friend bool operator==(const PolicyRule&, const PolicyRule&) = default;
};

struct Policy {
  static constexpr size_t kMostRules = 1000;
  static constexpr size_t kMostRoles = 100;
  static constexpr size_t kMostMembers = 1000;

  PolicyAction otherwise = PolicyAction::kAsk;  // where no rule fits
  std::vector<PolicyRole> roles;
  std::vector<PolicyRule> rules;

  friend bool operator==(const Policy&, const Policy&) = default;
};

// An agent as a policy sees it. A default one is somebody unknown, whom only `*` fits.
struct PolicySubject {
  crypto::PublicKey did{};
  std::string name;
  uint16_t tenant = 0;
  std::vector<crypto::PublicKey> formers = {};  // a rule for one of these is for its successor
};

struct PolicyDecision {
  PolicyAction action = PolicyAction::kAsk;
  PolicyBounds bounds;
  // A rule that names the tenants of both sides: what an agreement across tenants needs.
  bool names_both_tenants = false;
  std::vector<size_t> rules;  // those that decided
};

// How narrowly a rule names its two sides; the greater one wins.
struct Specificity {
  unsigned dids = 0, whole_names = 0, roles = 0, letters = 0, tenants = 0;
  auto operator<=>(const Specificity&) const = default;
};
Specificity specificity(const PolicyRule& rule);

bool matches(const Policy& policy, const PolicyPattern& pattern, const PolicySubject& subject);

// `candidates`: the rules that fit both, by index.
PolicyDecision decide(const Policy& policy, const std::vector<size_t>& candidates);
PolicyDecision decide(const Policy& policy, const PolicySubject& from, const PolicySubject& to);

}  // namespace sluice::control
