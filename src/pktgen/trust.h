// The relay's `trust:` section for a whole population, with a signed Enrol statement per agent.
#pragma once

#include <string>

#include "pktgen/agent_keys.h"
#include "pktgen/population.h"

namespace sluice::pktgen {

struct TrustOptions {
  Population population;
  ByteArray<32> relay_key{};
  std::string seal = "full";  // what a pair's `seal:` says; full is the default and left out
};

// YAML; the signing is spread over the CPUs that this process may use.
std::string trust_section(const KeySource& keys, const TrustOptions& options);

}  // namespace sluice::pktgen
