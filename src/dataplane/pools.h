// Packet buffers: a pool for each NUMA node that has workers, so that a NIC queue, its worker and
// its buffers lie together. Created after EAL, outlives ports and rings.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/eal.h"

struct rte_mempool;

namespace sluice::dataplane {

struct PoolDeleter {
  void operator()(rte_mempool* p) const;
};
using PoolHandle = std::unique_ptr<rte_mempool, PoolDeleter>;

class Pools {
 public:
  // Divides need.buffers by the workers of each node.
  static Result<Pools> create(const fabric::Topology& topology, const MemoryNeed& need);

  rte_mempool* of_worker(unsigned worker) const { return of_worker_[worker]; }
  // Of the worker that polls this queue; the first worker's for one that nobody polls.
  rte_mempool* of_queue(fabric::QueueRef queue) const;
  // False: packets that are handed over leave with another pool's buffers among their own.
  bool single() const { return pools_.size() == 1; }

 private:
  Pools() = default;

  std::vector<PoolHandle> pools_;
  std::vector<rte_mempool*> of_worker_;
  std::vector<std::pair<fabric::QueueRef, rte_mempool*>> queues_;
};

}  // namespace sluice::dataplane
