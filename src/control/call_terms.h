// What an operator's word, a policy's or the configuration's, holds the calls of an edge to: how
// many at once and in a period, which of them somebody approves, and when the edge is open. Plain
// values; many edges share one, by its number.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "control/time_window.h"
#include "fabric/edge_calls.h"

namespace sluice::control {

// So many calls in a period that begins with its first call; 0 calls: any number.
struct CallQuota {
  static constexpr uint32_t kMostCalls = 1'000'000'000;
  static constexpr uint32_t kLongestPeriodS = 366 * 86'400;
  uint32_t calls = 0;
  uint32_t period_s = 0;

  auto operator<=>(const CallQuota&) const = default;
};
// One that is at least as strict as both.
CallQuota stricter(const CallQuota& a, const CallQuota& b);

struct CallTerms {
  uint16_t at_once = 0;  // 0: as many as the agent may have
  CallQuota quota;
  uint8_t approve_capabilities = 0;         // bits of wire/call.h
  std::vector<std::string> approve_scopes;  // names, ascending, at most what EdgeCalls holds
  std::vector<WindowSet> windows;           // open while each set is; none: always

  // Something that workers are to know.
  bool limits_calls() const {
    return at_once != 0 || quota.calls != 0 || approve_capabilities != 0 ||
           !approve_scopes.empty() || !windows.empty();
  }
  auto operator<=>(const CallTerms&) const = default;
};
// Both hold.
CallTerms tighten(const CallTerms& a, const CallTerms& b);
// ", calls at once 4, quota 5 in 3600 s, …"; empty where there is nothing to say.
std::string to_string(const CallTerms& terms);

// A scope's name as envelopes have it.
uint64_t scope_hash(std::string_view name);

// Terms by number, given when they are first met. They stay: there are as many as an operator has
// written. Control thread.
class CallTermsList {
 public:
  // 0: those that hold to nothing.
  uint32_t number_of(const CallTerms& terms) const;
  const CallTerms& at(uint32_t number) const { return *list_[number]; }

 private:
  mutable std::map<CallTerms, uint32_t> numbers_{{CallTerms{}, 0}};
  mutable std::vector<const CallTerms*> list_{&numbers_.begin()->first};
};

}  // namespace sluice::control
