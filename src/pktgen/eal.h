// DPDK's environment and packet buffers for the generator. One per process, owned by the main
// thread, destroyed after everything else of DPDK.
#pragma once

#include <memory>

#include "pktgen/options.h"

struct rte_mempool;

namespace sluice::pktgen {

class Eal {
 public:
  static Result<std::unique_ptr<Eal>> start(const FleetOptions& options);
  ~Eal();
  Eal(const Eal&) = delete;
  Eal& operator=(const Eal&) = delete;

 private:
  Eal() = default;
};

struct PoolDeleter {
  void operator()(rte_mempool* p) const;
};
using PoolHandle = std::unique_ptr<rte_mempool, PoolDeleter>;

// Packet buffers with a `Note` (mailbox.h) in their private area. Bytes that nobody writes are
// filler from the start.
Result<PoolHandle> create_pool(const char* name, uint32_t count, uint16_t data_size);

// Of the general pool: what rings, queues and mailboxes can hold at once.
uint32_t buffers_needed(const FleetOptions& options);

}  // namespace sluice::pktgen
