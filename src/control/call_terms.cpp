#include "control/call_terms.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/bytes.h"
#include "crypto/hash.h"
#include "wire/call.h"

namespace sluice::control {

CallQuota stricter(const CallQuota& a, const CallQuota& b) {
  if (a.calls == 0 || b.calls == 0) return a.calls == 0 ? b : a;
  return {std::min(a.calls, b.calls), std::max(a.period_s, b.period_s)};
}

CallTerms tighten(const CallTerms& a, const CallTerms& b) {
  CallTerms out;
  out.at_once = a.at_once == 0 || b.at_once == 0 ? std::max(a.at_once, b.at_once)
                                                 : std::min(a.at_once, b.at_once);
  out.quota = stricter(a.quota, b.quota);
  out.approve_capabilities = a.approve_capabilities | b.approve_capabilities;
  std::set_union(a.approve_scopes.begin(), a.approve_scopes.end(), b.approve_scopes.begin(),
                 b.approve_scopes.end(), std::back_inserter(out.approve_scopes));
  if (out.approve_scopes.size() > fabric::EdgeCalls::kMostScopes) {
    // More than a worker looks for: then every call is approved.
    out.approve_scopes.clear();
    out.approve_capabilities = wire::kAllCapabilities;
  }
  out.windows = a.windows;
  for (const WindowSet& set : b.windows) {
    if (std::find(out.windows.begin(), out.windows.end(), set) == out.windows.end()) {
      out.windows.push_back(set);
    }
  }
  return out;
}

std::string to_string(const CallTerms& t) {
  std::string out;
  if (t.at_once != 0) out += fmt::format(", {} calls at once", t.at_once);
  if (t.quota.calls != 0) out += fmt::format(", {} calls in {} s", t.quota.calls, t.quota.period_s);
  if (t.approve_capabilities != 0) {
    out += fmt::format(", approval of {}",
                       fmt::join(wire::capability_names(t.approve_capabilities), "/"));
  }
  if (!t.approve_scopes.empty()) {
    out += fmt::format(", approval of scope {}", fmt::join(t.approve_scopes, "/"));
  }
  for (const WindowSet& set : t.windows) {
    std::vector<std::string> texts;
    for (const TimeWindow& w : set) texts.push_back(to_string(w));
    out += fmt::format(", open {}", fmt::join(texts, " or "));
  }
  return out;
}

uint64_t scope_hash(std::string_view name) {
  return load_le<uint64_t>(crypto::sha256({as_bytes(name)}).data());
}

uint32_t CallTermsList::number_of(const CallTerms& terms) const {
  if (!terms.limits_calls()) return 0;
  const auto [at, fresh] = numbers_.try_emplace(terms, static_cast<uint32_t>(list_.size()));
  if (fresh) list_.push_back(&at->first);
  return at->second;
}

}  // namespace sluice::control
