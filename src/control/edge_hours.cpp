#include "control/edge_hours.h"

#include <algorithm>

namespace sluice::control {

uint64_t EdgeHours::ticks_at(uint64_t unix_ms) const {
  if (unix_ms == 0) return ~uint64_t{0};
  const uint64_t now = clock_.unix_ms();
  return clock_.ticks() + (unix_ms > now ? clock_.ticks_from_ms(unix_ms - now) : 0);
}

void EdgeHours::judge(uint32_t number, Group& group) {
  if (group.state.changes_ms != 0) changes_.erase({group.state.changes_ms, number});
  group.state = state_at(terms_.at(number).windows, clock_.unix_ms());
  if (group.state.changes_ms != 0) changes_.insert({group.state.changes_ms, number});
}

void EdgeHours::write(uint32_t slot, uint32_t terms, uint64_t expires_ms) {
  fabric::Edge& edge = arena_.edges()[slot];
  const uint64_t expires = ticks_at(expires_ms);
  uint64_t until = expires;
  uint64_t opens = 0;
  if (const auto it = groups_.find(terms); it != groups_.end()) {
    const WindowState& s = it->second.state;
    const uint64_t change = ticks_at(s.changes_ms);
    until = s.open ? std::min(expires, change) : 0;
    // A window that closes says when it opens again once it has.
    if (!s.open && s.changes_ms != 0) opens = change;
    if (edge.calls != fabric::kNone) {
      arena_.edge_calls()[edge.calls].opens_at.store(opens, std::memory_order_relaxed);
    }
  }
  edge.expires.store(expires, std::memory_order_relaxed);
  edge.window_until.store(until, std::memory_order_relaxed);
}

void EdgeHours::set(uint32_t slot, uint32_t terms, uint64_t expires_ms) {
  if (!terms_.at(terms).windows.empty()) {
    const auto [at, fresh] = groups_.try_emplace(terms);
    if (fresh) judge(terms, at->second);
    at->second.edges[slot] = expires_ms;
  }
  write(slot, terms, expires_ms);
}

void EdgeHours::remove(uint32_t slot, uint32_t terms) {
  const auto it = groups_.find(terms);
  if (it == groups_.end()) return;
  it->second.edges.erase(slot);
  if (!it->second.edges.empty()) return;
  if (it->second.state.changes_ms != 0) changes_.erase({it->second.state.changes_ms, terms});
  groups_.erase(it);
}

void EdgeHours::poll() {
  if (changes_.empty()) return;
  const uint64_t now = clock_.unix_ms();
  while (!changes_.empty() && changes_.begin()->first <= now) {
    const uint32_t number = changes_.begin()->second;
    Group& group = groups_.at(number);
    judge(number, group);
    for (const auto& [slot, expires_ms] : group.edges) write(slot, number, expires_ms);
  }
}

}  // namespace sluice::control
