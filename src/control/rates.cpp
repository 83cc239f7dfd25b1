#include "control/rates.h"

#include <set>

#include <fmt/format.h>

namespace sluice::control {
namespace {

constexpr uint64_t kDivideMs = 50;

// What a worker gets of a tenant's limit even if it was offered nothing: this part of an equal
// share, so that the first packets of a flow that moves there do not die.
constexpr double kStandby = 0.25;

fabric::RateLimit limit_of(const RateConfig& rate, double part, uint64_t hz) {
  return fabric::make_limit(part * double(rate.packets_per_s), part * double(rate.bytes_per_s),
                            rate.burst_ms / 1000.0, hz);
}

}  // namespace

Result<void> Rates::apply(const TrustConfig& trust) {
  std::set<RateConfig> fresh;
  const auto need = [&](const RateConfig& r) {
    if (r.limited() && !index_.contains(r)) fresh.insert(r);
  };
  for (const auto& a : trust.agents) need(a.rate);
  for (const auto& p : trust.pairs) {
    need(p.forward_rate);
    need(p.backward_rate);
  }
  if (index_.size() + fresh.size() > arena_.sizes().rates) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.rates is {}, and the trust section has named {} different "
                            "rates since the start: raise it and restart",
                            arena_.sizes().rates, index_.size() + fresh.size()));
  }
  size_t tenants = tenants_.size();
  for (const auto& t : trust.tenants) tenants += tenants_.contains(t.id) ? 0 : 1;
  if (tenants > arena_.sizes().tenants) {
    return fail(ErrorCode::kResource,
                fmt::format("limits.tenants is {}, {} tenants have had a rate since the start: "
                            "raise it and restart",
                            arena_.sizes().tenants, tenants));
  }
  for (const auto& r : fresh) {
    const auto index = static_cast<uint32_t>(index_.size());
    arena_.rates()[index] = limit_of(r, 1, clock_.hz());
    index_[r] = index;
  }
  for (auto& [id, t] : tenants_) t.rate = {};
  for (const auto& t : trust.tenants) {
    Tenant& tenant = tenants_[t.id];
    if (tenant.slot == fabric::kNone) {
      tenant.slot = static_cast<uint32_t>(tenants_.size() - 1);
      tenant.offered.assign(arena_.sizes().workers, 0);
    }
    tenant.rate = t.rate;
  }
  for (auto& [id, t] : tenants_) divide(t);
  return {};
}

uint32_t Rates::index_of(const RateConfig& rate) const {
  const auto it = index_.find(rate);
  return it == index_.end() ? fabric::kNone : it->second;
}

uint32_t Rates::slot_of_tenant(uint16_t tenant) const {
  const auto it = tenants_.find(tenant);
  return it == tenants_.end() || !it->second.rate.limited() ? fabric::kNone : it->second.slot;
}

void Rates::divide(Tenant& tenant) {
  const uint32_t workers = arena_.sizes().workers;
  std::vector<double> demand(workers);
  double total = 0;
  for (uint32_t w = 0; w < workers; ++w) {
    const uint64_t offered = arena_.tenant_share(w, tenant.slot).offered_packets.get();
    demand[w] = double(offered - tenant.offered[w]);
    tenant.offered[w] = offered;
    total += demand[w];
  }
  for (uint32_t w = 0; w < workers; ++w) {
    const double equal = 1.0 / workers;
    const double part = total == 0 ? equal : kStandby * equal + (1 - kStandby) * demand[w] / total;
    const fabric::RateLimit limit = limit_of(tenant.rate, part, clock_.hz());
    fabric::TenantShare& share = arena_.tenant_share(w, tenant.slot);
    share.ticks_per_packet.store(limit.ticks_per_packet, std::memory_order_relaxed);
    share.ticks_per_byte_q16.store(limit.ticks_per_byte_q16, std::memory_order_relaxed);
    share.burst_ticks.store(limit.burst_ticks, std::memory_order_relaxed);
  }
}

void Rates::poll() {
  const uint64_t now = clock_.ticks();
  if (now < next_) return;
  next_ = now + clock_.ticks_from_ms(kDivideMs);
  for (auto& [id, t] : tenants_) divide(t);
}

}  // namespace sluice::control
