// What the store keeps, as plain values. Owned by whoever holds them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace sluice::control {

// An enrolled agent. Its virtual address (tenant, node) is its own for good.
struct AgentRow {
  ByteArray<32> identity{};
  uint16_t tenant = 0;
  uint32_t node = 0;
  std::string name;
  uint64_t created_ms = 0;  // Unix time
};

struct RevocationRow {
  ByteArray<32> identity{};
  std::string reason;
  uint64_t at_ms = 0;  // Unix time
};

struct Snapshot {
  std::vector<AgentRow> agents;            // by address
  std::vector<RevocationRow> revocations;  // in the order in which they were made
};

}  // namespace sluice::control
