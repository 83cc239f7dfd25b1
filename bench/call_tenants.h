// Ten tenants with equal limits whose agents call each other; then one of them opens a hundred
// times what it may. What the other nine get of what is theirs, and what they wait.
#pragma once

#include "bench/schedule.h"

namespace sluice::bench {

struct TenantOptions {
  double load = 0.9;        // share of the worker's core, the source's part included
  bool flood_in_it = true;  // the flood's cost is part of that load; else it comes on top
  double seconds = 0.15;    // of each turn
  unsigned turns = 3;
  double call_ns = 10'000;  // what a whole call costs the worker
};

struct TenantFigures {
  double limit_calls_per_s = 0;  // of each tenant
  double jain_index = 0;         // over goodput by entitlement of the nine; medians over the turns
  double least = 0;              // the worst of those nine
  double p99_calm = 0, p99_flood = 0, p99_change = 0;  // the nine's CALL_OPENs, us; share
  double busy_calm = 0, busy_flood = 0;
  double flood_per_s = 0;
  uint64_t did_not_fit = 0;  // frames of anybody, in the flood
  unsigned hiccups = 0;
  std::string denials;  // over all turns, by reason
  std::string problem;
};

inline constexpr unsigned kTenants = 10;
inline constexpr unsigned kFlood = 100;  // times its limit

// What tenants have to have as their limits, whole calls a second as frames: of
// `limit_calls_per_s`.
control::RateConfig tenant_limit(double calls_per_s);
// The limit by which `options` hold, where a frame of the flood costs `flood_ns`.
double limit_for(const TenantOptions& options, double flood_ns);
// On the worker's thread, of a relay with kTenants tenants that have that limit.
TenantFigures measure_tenants(InMemoryRelay& relay, Callers& callers, Player& player,
                              const TenantOptions& options, double limit_calls_per_s);

}  // namespace sluice::bench
