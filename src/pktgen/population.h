// Who the agents are: how many, in which tenants, and who sends to whom. Agent i (from 0) is called
// g-00000(i+1). Plain values; the relay's trust section and the traffic come from the same rules.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace sluice::pktgen {

// kPairs: 2k with 2k+1, both ways; kRing: i to i+1; kStar: all to the tenant's first agent, which
// itself sends to the second. Each within one tenant, since tenants are strangers.
enum class Pattern : uint8_t { kPairs, kRing, kStar };
std::optional<Pattern> parse_pattern(std::string_view text);

struct Population {
  uint32_t agents = 0;
  uint16_t first_tenant = 7;
  uint16_t tenants = 1;
  Pattern pattern = Pattern::kPairs;

  static constexpr uint32_t kMaxAgents = 1'000'000;

  // Whether every agent has a peer.
  Result<void> check() const;

  uint16_t tenant_of(uint32_t agent) const;
  uint32_t peer_of(uint32_t agent) const;
  void each_pair(const std::function<void(uint32_t from, uint32_t to)>& visit) const;

 private:
  uint32_t block() const;  // agents of a tenant; the last tenant may have fewer
  uint32_t block_end(uint32_t start) const;
};

std::string agent_name(uint32_t agent);

}  // namespace sluice::pktgen
