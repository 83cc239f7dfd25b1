// Limits of the trust section as the arena's rate records: one record for each different limit, and
// a share of each tenant's limit for every worker, divided anew by what each worker is offered.
// Owned by the control thread.
#pragma once

#include <map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "control/config.h"
#include "fabric/arena.h"

namespace sluice::control {

class Rates {
 public:
  Rates(fabric::Arena& arena, const Clock& clock) : arena_(arena), clock_(clock) {}

  // Room for all limits of `trust`; kResource if there is none, and nothing has changed then.
  Result<void> apply(const TrustConfig& trust);

  // Index of an applied limit, kNone for none.
  uint32_t index_of(const RateConfig& rate) const;
  uint32_t slot_of_tenant(uint16_t tenant) const;

  // Gives each worker its part of every tenant's limit; cheap when it is not due.
  void poll();

 private:
  struct Tenant {
    uint32_t slot = fabric::kNone;
    RateConfig rate;
    std::vector<uint64_t> offered;  // by worker, when last divided
  };
  void divide(Tenant& tenant);

  fabric::Arena& arena_;
  const Clock& clock_;
  std::map<RateConfig, uint32_t> index_;  // records are never changed or reused
  std::map<uint16_t, Tenant> tenants_;
  uint64_t next_ = 0;  // ticks
};

}  // namespace sluice::control
