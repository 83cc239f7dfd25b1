// How much memory a topology takes from DPDK, worked out before it starts. No state; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "fabric/topology.h"

namespace sluice::dataplane {

// Buffers that a worker's core keeps of its pool.
inline constexpr unsigned kPoolCache = 256;

// Memory of a topology, computed before EAL starts. Bytes.
struct MemoryNeed {
  uint32_t buffers = 0;      // mbufs in the pool
  uint32_t buffer_size = 0;  // of each, headers and private area included
  size_t pool = 0;
  size_t rings = 0;
  size_t arena = 0;
  size_t total() const { return pool + rings + arena; }
};
// `packet_buffers`: 0 computes the number from queues, descriptors and workers.
MemoryNeed memory_need(const fabric::Topology& topology, uint32_t packet_buffers, size_t arena);

// kResource with "needs N MiB of hugepages, M MiB free" and the remedy; always fine for no_huge.
Result<void> check_memory(const MemoryNeed& need, fabric::EalMode mode);

}  // namespace sluice::dataplane
