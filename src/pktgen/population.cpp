#include "pktgen/population.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::pktgen {

std::optional<Pattern> parse_pattern(std::string_view text) {
  if (text == "pairs") return Pattern::kPairs;
  if (text == "ring") return Pattern::kRing;
  if (text == "star") return Pattern::kStar;
  return std::nullopt;
}

Result<void> Population::check() const {
  const uint32_t last = agents == 0 ? 0 : agents - (agents - 1) / block() * block();
  if (agents < 2 || agents > kMaxAgents) {
    return fail(ErrorCode::kUsage, fmt::format("--agents is {}: give 2 to {}", agents, kMaxAgents));
  }
  if (pattern == Pattern::kPairs && agents % 2 != 0) {
    return fail(ErrorCode::kUsage,
                fmt::format("--agents is {}: pairs need an even number", agents));
  }
  if (last < 2 || tenant_of(agents - 1) != first_tenant + tenants - 1) {
    return fail(ErrorCode::kUsage, fmt::format("--tenants is {}: {} agents cannot fill as many "
                                               "with at least two each",
                                               tenants, agents));
  }
  return {};
}

// Even, so that no pair is torn.
uint32_t Population::block() const {
  const uint32_t share = (agents + tenants - 1) / std::max<uint32_t>(tenants, 1);
  return std::max<uint32_t>(2, share + share % 2);
}

uint32_t Population::block_end(uint32_t start) const {
  return std::min(start + block(), agents);
}

uint16_t Population::tenant_of(uint32_t agent) const {
  return static_cast<uint16_t>(first_tenant + agent / block());
}

uint32_t Population::peer_of(uint32_t agent) const {
  const uint32_t start = agent / block() * block();
  switch (pattern) {
    case Pattern::kPairs:
      return agent ^ 1;
    case Pattern::kRing:
      return agent + 1 == block_end(start) ? start : agent + 1;
    case Pattern::kStar:
      break;
  }
  return agent == start ? start + 1 : start;
}

void Population::each_pair(const std::function<void(uint32_t from, uint32_t to)>& visit) const {
  for (uint32_t i = 0; i < agents; ++i) {
    const uint32_t peer = peer_of(i);
    // A pair carries both directions; two agents that send to each other are one.
    if (peer_of(peer) != i || i < peer) visit(i, peer);
  }
}

std::string agent_name(uint32_t agent) {
  return fmt::format("g-{:06}", agent + 1);
}

}  // namespace sluice::pktgen
