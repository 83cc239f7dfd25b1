#include "control/scope_sets.h"

#include <algorithm>

#include "base/log.h"

namespace sluice::control {
namespace {

// As long as an edge's slot (docs/architecture.md): whoever read the edge has long gone on.
constexpr uint64_t kRestMs = 180'000;

}  // namespace

uint32_t ScopeSets::hold(Set scopes) {
  std::sort(scopes.begin(), scopes.end());
  scopes.erase(std::unique(scopes.begin(), scopes.end()), scopes.end());
  if (scopes.empty() || scopes.size() > fabric::ScopeSet::kMost) return fabric::kNoScope;
  if (const auto it = held_.find(scopes); it != held_.end()) {
    ++it->second.holders;
    return it->second.number;
  }
  uint32_t number = fabric::kNone;
  if (!resting_.empty() && resting_.front().until <= clock_.ticks()) {
    number = resting_.front().number;
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
  by_number_[number] = held_.emplace(std::move(scopes), Held{number, 1}).first;
  return number;
}

void ScopeSets::release(uint32_t number) {
  if (number >= by_number_.size()) return;
  const auto it = by_number_[number];
  if (--it->second.holders != 0) return;
  held_.erase(it);
  resting_.push_back({number, clock_.ticks() + clock_.ticks_from_ms(kRestMs)});
}

}  // namespace sluice::control
