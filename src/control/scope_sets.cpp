#include "control/scope_sets.h"

#include <algorithm>

#include "base/log.h"

namespace sluice::control {
ScopeSets::Set ScopeSets::canonical(Set scopes) {
  std::sort(scopes.begin(), scopes.end());
  scopes.erase(std::unique(scopes.begin(), scopes.end()), scopes.end());
  return scopes;
}

size_t ScopeSets::free_places() const {
  const uint64_t now = clock_.ticks();
  const auto end = std::partition_point(resting_.begin(), resting_.end(),
                                        [now](const Resting& r) { return r.until <= now; });
  return arena_.sizes().scope_sets - next_ + static_cast<size_t>(end - resting_.begin());
}

bool ScopeSets::has_room(uint16_t tenant, const Set& one, const Set& other) const {
  size_t needs = 0;
  for (const Set* set : {&one, &other}) {
    const Set key = canonical(*set);
    needs += !key.empty() && !held_.contains(key) ? 1 : 0;
  }
  if (needs == 0) return true;
  const auto it = taken_.find(tenant);
  size_t has = it == taken_.end() ? 0 : it->second;
  // What has rested is nobody's, though nobody has taken it yet.
  const uint64_t now = clock_.ticks();
  for (auto r = resting_.begin(); r != resting_.end() && r->until <= now; ++r) {
    has -= r->tenant == tenant ? 1 : 0;
  }
  return free_places() >= needs && has + needs <= arena_.sizes().scope_sets / 2;
}

uint32_t ScopeSets::hold(uint16_t tenant, Set scopes) {
  scopes = canonical(std::move(scopes));
  if (scopes.empty() || scopes.size() > fabric::ScopeSet::kMost) return fabric::kNoScope;
  if (const auto it = held_.find(scopes); it != held_.end()) {
    ++it->second.holders;
    return it->second.number;
  }
  uint32_t number = fabric::kNone;
  if (!resting_.empty() && resting_.front().until <= clock_.ticks()) {
    number = resting_.front().number;
    --taken_[resting_.front().tenant];
    resting_.pop_front();
  } else if (next_ < arena_.sizes().scope_sets) {
    number = next_++;
    by_number_.resize(next_);
  } else {
    if (full_++ == 0) {
      spdlog::error(
          "limits.scope_sets is {} and agreements name more different sets of scopes: calls of "
          "those that came later may use none; raise it and restart",
          arena_.sizes().scope_sets);
    }
    return fabric::kNoScope;
  }
  fabric::ScopeSet& place = arena_.scopes()[number];
  place = {};
  std::copy(scopes.begin(), scopes.end(), place.scopes);
  ++taken_[tenant];
  by_number_[number] = held_.emplace(std::move(scopes), Held{number, 1, tenant}).first;
  return number;
}

void ScopeSets::release(uint32_t number) {
  if (number >= by_number_.size()) return;
  const auto it = by_number_[number];
  if (--it->second.holders != 0) return;
  resting_.push_back(
      {number, clock_.ticks() + clock_.ticks_from_ms(fabric::kEdgeRestMs), it->second.tenant});
  held_.erase(it);
}

}  // namespace sluice::control
