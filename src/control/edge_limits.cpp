#include "control/edge_limits.h"

#include <algorithm>

#include "base/log.h"
#include "control/tenant_rates.h"

namespace sluice::control {
namespace {

// Pairs whose quotas are remembered while they have no edge, if there are fewer places for edges.
constexpr size_t kMostQuotaUses = 65'536;

}  // namespace

EdgeLimits::EdgeLimits(fabric::Arena& arena, const Clock& clock)
    : arena_(arena), clock_(clock), hours_(arena, clock, terms_) {}

bool EdgeLimits::needs_place(const EdgeTerms& terms) const {
  return terms.calls != 0 || terms.granted.calls != 0 || terms.rate.calls_per_s != 0;
}

// By nothing but what agents granted each other.
bool EdgeLimits::is_granted(const EdgeTerms& terms) const {
  return terms.granted.calls != 0 && terms.calls == 0 && terms.rate.calls_per_s == 0;
}

size_t EdgeLimits::places() const {
  const uint64_t now = clock_.ticks();
  const auto end = std::partition_point(resting_.begin(), resting_.end(),
                                        [now](const Resting& r) { return r.until <= now; });
  return arena_.sizes().edge_calls - next_place_ + static_cast<size_t>(end - resting_.begin());
}

bool EdgeLimits::has_room_for_grants() const {
  // What has rested is nobody's, though nobody has taken it yet.
  const uint64_t now = clock_.ticks();
  size_t taken = granted_;
  for (auto r = resting_.begin(); r != resting_.end() && r->until <= now; ++r) {
    taken -= r->granted ? 1 : 0;
  }
  return taken + 2 <= arena_.sizes().edge_calls / 2 && places() >= 2;
}

bool EdgeLimits::has_room(const EdgeTerms& one, const EdgeTerms& other) {
  const size_t needs = (needs_place(one) ? 1u : 0u) + (needs_place(other) ? 1u : 0u);
  if (needs == 0 || places() >= needs) return true;
  if (!told_full_) {
    spdlog::error(
        "limits.limited_edges is {} and more edges have limits of their calls: pairs that came "
        "later wait; raise it and restart",
        arena_.sizes().edge_calls);
    told_full_ = true;
  }
  return false;
}

uint32_t EdgeLimits::take_place() {
  if (!resting_.empty() && resting_.front().until <= clock_.ticks()) {
    const Resting first = resting_.front();
    resting_.pop_front();
    if (first.granted) --granted_;
    return first.place;
  }
  return next_place_ < arena_.sizes().edge_calls ? next_place_++ : fabric::kNone;
}

void EdgeLimits::write_calls(fabric::EdgeCalls& record, const EdgeEntry& edge) {
  const CallTerms& terms = terms_.at(edge.terms.calls);
  record.opens_at.store(0, std::memory_order_relaxed);
  std::fill(std::begin(record.approve_scopes), std::end(record.approve_scopes), 0);
  std::transform(terms.approve_scopes.begin(), terms.approve_scopes.end(), record.approve_scopes,
                 scope_hash);
  record.approve_capabilities = terms.approve_capabilities;
  record.at_once = terms.at_once;
  record.bucket.set(edge.terms.rate.calls_per_s, clock_.hz());
  record.bucket.reset();
  const CallQuota quotas[] = {terms.quota, edge.terms.granted};
  const auto known = uses_.find({edge.from, edge.to});
  for (size_t q = 0; q < std::size(quotas); ++q) {
    record.quota_calls[q] = quotas[q].calls;
    record.quota_s[q] = quotas[q].period_s;
    uint32_t used = 0;
    uint64_t ends = 0;
    if (known != uses_.end()) {
      for (const QuotaUse& use : known->second) {
        if (use.quota.period_s != quotas[q].period_s || use.ends_ms <= clock_.unix_ms()) continue;
        used = std::max(used, use.used);
        ends = std::max(ends, hours_.ticks_at(use.ends_ms));
      }
    }
    record.used[q].store(used, std::memory_order_relaxed);
    record.period_ends[q].store(ends, std::memory_order_relaxed);
  }
  if (known == uses_.end()) return;
  // Those of other periods stay for edges that have them again.
  const uint64_t now = clock_.unix_ms();
  std::erase_if(known->second, [&](const QuotaUse& use) {
    return use.ends_ms <= now || use.quota.period_s == quotas[0].period_s ||
           use.quota.period_s == quotas[1].period_s;
  });
  if (known->second.empty()) uses_.erase(known);
}

void EdgeLimits::open(const EdgeEntry& edge) {
  fabric::Edge& record = arena_.edges()[edge.slot];
  record.bucket.set(limit_of(edge.terms.rate, clock_));
  record.bucket.reset();
  record.circuit.outcomes = record.circuit.failed = record.circuit.trying = 0;
  record.circuit.state.store(0, std::memory_order_relaxed);
  record.calls = needs_place(edge.terms) ? take_place() : fabric::kNone;
  if (record.calls != fabric::kNone && is_granted(edge.terms)) ++granted_;
  if (record.calls != fabric::kNone) write_calls(arena_.edge_calls()[record.calls], edge);
  if (terms_.at(edge.terms.calls).quota.calls != 0 || edge.terms.granted.calls != 0) {
    counted_[edge.slot] = {edge, used(edge)};
  }
  hours_.set(edge.slot, edge.terms.calls, edge.expires_ms);
}

std::vector<QuotaUse> EdgeLimits::used(const EdgeEntry& edge) const {
  std::vector<QuotaUse> out;
  const uint32_t place = arena_.edges()[edge.slot].calls;
  if (place == fabric::kNone) return out;
  const fabric::EdgeCalls& record = arena_.edge_calls()[place];
  const uint64_t now = clock_.ticks();
  for (size_t q = 0; q < fabric::EdgeCalls::kQuotas; ++q) {
    if (record.quota_calls[q] == 0) continue;
    QuotaUse use{.quota = {record.quota_calls[q], record.quota_s[q]}};
    if (const uint64_t ends = record.period_ends[q].load(std::memory_order_relaxed); ends > now) {
      use.used = record.used[q].load(std::memory_order_relaxed);
      use.ends_ms =
          clock_.unix_ms() + static_cast<uint64_t>(clock_.us_from_ticks(ends - now) / 1000);
    }
    out.push_back(use);
  }
  return out;
}

void EdgeLimits::forget_old() {
  const uint64_t now = clock_.unix_ms();
  if (now - forgot_ms_ < 1000) return;
  forgot_ms_ = now;
  std::erase_if(uses_, [now](const auto& entry) {
    return std::all_of(entry.second.begin(), entry.second.end(),
                       [now](const QuotaUse& u) { return u.ends_ms <= now; });
  });
}

void EdgeLimits::restore(uint32_t from, uint32_t to, const QuotaUse& use) {
  const size_t most = std::max<size_t>(kMostQuotaUses, arena_.sizes().edge_calls);
  if (uses_.size() >= most) forget_old();
  // Beyond that many at once the quota of some pair begins anew with its next edge.
  if (uses_.size() < most) uses_[{from, to}].push_back(use);
}

std::vector<EdgeLimits::Change> EdgeLimits::take_changes() {
  std::vector<Change> out = std::exchange(changes_, {});
  for (auto& [slot, counted] : counted_) {
    const auto now = used(counted.edge);
    for (size_t q = 0; q < now.size(); ++q) {
      // In another period the same number is another use; ends are rounded to a millisecond.
      const bool same =
          now[q].used == counted.kept[q].used && now[q].ends_ms < counted.kept[q].ends_ms + 1000;
      if (now[q].ends_ms == 0 || same) continue;
      out.push_back({counted.edge.from, counted.edge.to, now[q]});
    }
    counted.kept = now;
  }
  return out;
}

void EdgeLimits::keep_all_again() {
  for (auto& [slot, counted] : counted_) {
    for (QuotaUse& use : counted.kept) use.ends_ms = 0;
  }
}

void EdgeLimits::close(const EdgeEntry& edge) {
  for (const QuotaUse& use : used(edge)) {
    if (use.ends_ms == 0) continue;
    restore(edge.from, edge.to, use);
    changes_.push_back({edge.from, edge.to, use});
  }
  counted_.erase(edge.slot);
  hours_.remove(edge.slot, edge.terms.calls);
  const uint32_t place = arena_.edges()[edge.slot].calls;
  if (place == fabric::kNone) return;
  resting_.push_back(
      {place, clock_.ticks() + clock_.ticks_from_ms(fabric::kEdgeRestMs), is_granted(edge.terms)});
}

}  // namespace sluice::control
