#include "control/tenant_rates.h"

#include <numeric>

#include <fmt/format.h>

namespace sluice::control {
namespace {

constexpr uint64_t kDivideMs = 50;

// What a worker gets of a tenant's limit even if it was offered nothing: this part of an equal
// share, so that the first packets of a flow that moves there do not die.
constexpr double kStandby = 0.25;

// Of what is remembered of calls, from one division to the next: half is forgotten in 1.7 s.
constexpr double kCallMemory = 0.98;

}  // namespace

fabric::RateLimit limit_of(const RateConfig& rate, const Clock& clock, double part) {
  return fabric::make_limit(part * double(rate.packets_per_s), part * double(rate.bytes_per_s),
                            rate.burst_ms / 1000.0, clock.hz());
}

Result<void> TenantRates::apply(const std::vector<TrustTenant>& tenants) {
  size_t count = tenants_.size();
  for (const auto& t : tenants) count += tenants_.contains(t.id) ? 0 : 1;
  if (count > arena_.sizes().tenants) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.tenants is {}, {} tenants have had a rate since the start: "
                            "raise it and restart",
                            arena_.sizes().tenants, count));
  }
  for (auto& [id, t] : tenants_) t.rate = {};
  for (const auto& t : tenants) {
    Tenant& tenant = tenants_[t.id];
    if (tenant.slot == fabric::kNone) {
      tenant.slot = static_cast<uint32_t>(tenants_.size() - 1);
      tenant.offered.assign(arena_.sizes().workers, 0);
      tenant.offered_calls.assign(arena_.sizes().workers, 0);
      tenant.calling.assign(arena_.sizes().workers, 0);
    }
    tenant.rate = t.rate;
  }
  for (auto& [id, t] : tenants_) divide(t);
  return {};
}

uint32_t TenantRates::slot_of(uint16_t tenant) const {
  const auto it = tenants_.find(tenant);
  return it == tenants_.end() || !it->second.rate.limited() ? fabric::kNone : it->second.slot;
}

void TenantRates::divide(Tenant& tenant) {
  const uint32_t workers = arena_.sizes().workers;
  const auto divided = [&](const std::vector<double>& demand) {
    const double total = std::accumulate(demand.begin(), demand.end(), 0.0);
    const double equal = 1.0 / workers;
    std::vector<double> out(workers, equal);
    for (uint32_t w = 0; total > 0 && w < workers; ++w) {
      out[w] = kStandby * equal + (1 - kStandby) * demand[w] / total;
    }
    return out;
  };
  std::vector<double> fresh(workers);
  for (uint32_t w = 0; w < workers; ++w) {
    const fabric::TenantShare& share = arena_.tenant_share(w, tenant.slot);
    const uint64_t offered = share.offered_packets.get(), called = share.offered_calls.get();
    fresh[w] = double(offered - tenant.offered[w]);
    tenant.offered[w] = offered;
    // Calls are few: what was offered lately still tells where the next one comes.
    tenant.calling[w] = kCallMemory * tenant.calling[w] + double(called - tenant.offered_calls[w]);
    tenant.offered_calls[w] = called;
  }
  const auto packets = divided(fresh), calls = divided(tenant.calling);
  for (uint32_t w = 0; w < workers; ++w) {
    fabric::TenantShare& share = arena_.tenant_share(w, tenant.slot);
    share.bucket.set(limit_of(tenant.rate, clock_, packets[w]));
    share.calls.set(calls[w] * tenant.rate.calls_per_s, clock_.hz());
  }
}

void TenantRates::poll() {
  const uint64_t now = clock_.ticks();
  if (now < next_) return;
  next_ = now + clock_.ticks_from_ms(kDivideMs);
  for (auto& [id, t] : tenants_) divide(t);
}

}  // namespace sluice::control
