#include "control/capacity.h"

#include <algorithm>

#include "crypto/batch_engine.h"
#include "crypto/prepared_key.h"

namespace sluice::control {
namespace {

constexpr uint32_t kSpareCredentials = 16;

// As many as there is memory and use for.
uint32_t prepared_keys(const LimitsConfig& limits) {
  if (crypto::batch_engine() == nullptr) return 0;
  const uint64_t fit = (uint64_t{limits.prepared_keys_mb} << 20) / sizeof(crypto::PreparedKey);
  return static_cast<uint32_t>(std::min<uint64_t>(limits.agents, fit));
}

}  // namespace

fabric::ArenaSizes arena_sizes(const Config& config) {
  return {.agents = config.limits.agents,
          .edges = config.limits.edges,
          .sessions = config.limits.sessions,
          .lanes_in = config.handshake.agent_lanes,
          .workers = static_cast<uint32_t>(config.topology.workers.size()),
          .tenants = config.limits.tenants,
          .prepared_keys = prepared_keys(config.limits),
          .call_pages = std::min(config.limits.calling_agents, config.limits.agents),
          .calls_each = config.limits.calls_per_agent,
          .keys_each = config.limits.idempotency_keys_per_agent,
          .scope_sets = config.limits.scope_sets,
          .edge_calls = config.limits.limited_edges,
          .latencies = config.observability.latency ? 1 + config.observability.latency_tenants : 0,
          // One of each is on its way out while another takes its place.
          .credentials =
              config.limits.credentials == 0 ? 0 : config.limits.credentials + kSpareCredentials};
}

}  // namespace sluice::control
