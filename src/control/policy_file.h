// A policy as the operator writes it (docs/policy.md): YAML, read with all its mistakes at once,
// and what one changes against another. Control thread.
#pragma once

#include <functional>
#include <string_view>

#include "control/policy.h"

namespace sluice::control {

struct LoadedPolicy {
  Policy policy;
  std::vector<ConfigProblem> problems;  // empty: it is good
};

// A tenant's number by its name or number; none: there is no such tenant.
using TenantLookup = std::function<std::optional<uint16_t>(const std::string&)>;

inline constexpr size_t kLargestPolicy = 1u << 20;  // bytes

LoadedPolicy parse_policy(std::string_view yaml, const TenantLookup& tenant);

// `research-*@7`, `role:data`, a DID, `*`: as a file may spell it.
std::string to_string(const PolicyPattern& pattern);
// One line.
std::string to_string(const PolicyRule& rule);

struct PolicyDiff {
  std::vector<std::string> added, removed;  // lines: rules, roles, the default
};
PolicyDiff compare(const Policy& before, const Policy& after);

}  // namespace sluice::control
