// Limits of the trust section as the arena has them, and the division of each tenant's limit among
// the workers, again and again, by what each of them is offered. Owned by the control thread.
#pragma once

#include <map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "control/config.h"
#include "fabric/arena.h"

namespace sluice::control {

// The part of a rate that a bucket gets; 1 but for tenants.
fabric::RateLimit limit_of(const RateConfig& rate, const Clock& clock, double part = 1);

class TenantRates {
 public:
  TenantRates(fabric::Arena& arena, const Clock& clock) : arena_(arena), clock_(clock) {}

  // kResource if there are more tenants than room for them; nothing has changed then.
  Result<void> apply(const std::vector<TrustTenant>& tenants);

  // The tenant's place among every worker's shares; kNone: not limited.
  uint32_t slot_of(uint16_t tenant) const;

  // Gives each worker its part; cheap when it is not due.
  void poll();

 private:
  struct Tenant {
    uint32_t slot = fabric::kNone;
    RateConfig rate;
    std::vector<uint64_t> offered, offered_calls;  // by worker, when last divided
    std::vector<double> calling;                   // calls lately, by worker
  };
  void divide(Tenant& tenant);

  fabric::Arena& arena_;
  const Clock& clock_;
  std::map<uint16_t, Tenant> tenants_;  // that ever had a rate
  uint64_t next_ = 0;                   // ticks
};

}  // namespace sluice::control
