// The Environment Abstraction Layer's lifetime, and what the process needs from it. One per
// process, owned by the main thread, destroyed after everything else of DPDK.
#pragma once

#include <memory>

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

class Eal {
 public:
  static Result<std::unique_ptr<Eal>> start(const fabric::Topology& topology,
                                            const MemoryNeed& need);
  ~Eal();
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;

 private:
  Eal() = default;
  // dpdk-dumpcap may attach (mode shared). Its callbacks are on the ports' queues, so on workers,
  // only while it captures; EAL's IPC thread sets and removes them.
  bool capture_ = false;
};

}  // namespace sluice::dataplane
