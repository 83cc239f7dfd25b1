#include "control/policy.h"

#include <fnmatch.h>

#include <algorithm>

namespace sluice::control {
namespace {

bool is_glob(const std::string& name) {
  return name.find_first_of("*?") != std::string::npos;
}

void count(const PolicyPattern& p, Specificity& out) {
  out.dids += p.did ? 1 : 0;
  out.whole_names += !p.name.empty() && !is_glob(p.name) ? 1 : 0;
  out.roles += p.role.empty() ? 0 : 1;
  out.letters += static_cast<unsigned>(
      std::count_if(p.name.begin(), p.name.end(), [](char c) { return c != '*' && c != '?'; }));
  out.tenants += p.tenant ? 1 : 0;
}

std::optional<std::set<std::string>> both(const std::optional<std::set<std::string>>& a,
                                          const std::optional<std::set<std::string>>& b) {
  if (!a || !b) return a ? a : b;
  std::set<std::string> out;
  std::set_intersection(a->begin(), a->end(), b->begin(), b->end(), std::inserter(out, out.end()));
  return out;
}

uint64_t lower(uint64_t a, uint64_t b) {
  return a == 0 || b == 0 ? std::max(a, b) : std::min(a, b);
}

// Both hold.
PolicyBounds tighten(const PolicyBounds& a, const PolicyBounds& b) {
  PolicyBounds out;
  out.longest_ms = lower(a.longest_ms, b.longest_ms);
  out.scopes = both(a.scopes, b.scopes);
  out.protocols = both(a.protocols, b.protocols);
  out.seal = !a.seal || !b.seal   ? (a.seal ? a.seal : b.seal)
             : *a.seal == *b.seal ? a.seal
                                  : std::optional(fabric::SealPolicy::kFull);
  out.rate.packets_per_s = lower(a.rate.packets_per_s, b.rate.packets_per_s);
  out.rate.bytes_per_s = lower(a.rate.bytes_per_s, b.rate.bytes_per_s);
  out.rate.burst_ms = std::min(a.rate.burst_ms, b.rate.burst_ms);
  out.rate.calls_per_s = static_cast<uint32_t>(lower(a.rate.calls_per_s, b.rate.calls_per_s));
  out.calls = tighten(a.calls, b.calls);
  return out;
}

}  // namespace

std::string_view name_of(PolicyAction action) {
  switch (action) {
    case PolicyAction::kApprove:
      return "approve";
    case PolicyAction::kAsk:
      return "ask";
    case PolicyAction::kDeny:
      return "deny";
  }
  return "";
}

Specificity specificity(const PolicyRule& rule) {
  Specificity out;
  count(rule.from, out);
  count(rule.to, out);
  return out;
}

bool matches(const Policy& policy, const PolicyPattern& p, const PolicySubject& subject) {
  if (p.did && *p.did != subject.did &&
      std::find(subject.formers.begin(), subject.formers.end(), *p.did) == subject.formers.end()) {
    return false;
  }
  if (p.tenant && *p.tenant != subject.tenant) return false;
  if (!p.name.empty() &&
      (subject.name.empty() || fnmatch(p.name.c_str(), subject.name.c_str(), 0) != 0)) {
    return false;
  }
  if (p.role.empty()) return true;
  return std::any_of(policy.roles.begin(), policy.roles.end(), [&](const PolicyRole& r) {
    return r.name == p.role &&
           std::any_of(r.members.begin(), r.members.end(),
                       [&](const PolicyPattern& m) { return matches(policy, m, subject); });
  });
}

PolicyDecision decide(const Policy& policy, const std::vector<size_t>& candidates) {
  PolicyDecision out;
  Specificity best;
  for (const size_t i : candidates) {
    const PolicyRule& rule = policy.rules[i];
    const Specificity s = specificity(rule);
    if (!out.rules.empty() && s < best) continue;
    if (out.rules.empty() || s > best) {
      best = s;
      out = {rule.action, rule.bounds, rule.from.tenant && rule.to.tenant, {i}};
      continue;
    }
    out.action = std::max(out.action, rule.action);
    out.bounds = tighten(out.bounds, rule.bounds);
    out.names_both_tenants = out.names_both_tenants && rule.from.tenant && rule.to.tenant;
    out.rules.push_back(i);
  }
  if (out.rules.empty()) out.action = policy.otherwise;
  return out;
}

PolicyDecision decide(const Policy& policy, const PolicySubject& from, const PolicySubject& to) {
  std::vector<size_t> candidates;
  for (size_t i = 0; i < policy.rules.size(); ++i) {
    const PolicyRule& r = policy.rules[i];
    if (matches(policy, r.from, from) && matches(policy, r.to, to)) candidates.push_back(i);
  }
  return decide(policy, candidates);
}

}  // namespace sluice::control
