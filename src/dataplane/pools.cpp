#include "dataplane/pools.h"

#include <map>

#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#include <fmt/format.h>

#include "fabric/mailbox.h"

namespace sluice::dataplane {
namespace {

Result<PoolHandle> create_pool(const std::string& name, uint32_t buffers, const MemoryNeed& need,
                               int socket) {
  static_assert(sizeof(fabric::PacketMeta) % RTE_MBUF_PRIV_ALIGN == 0);
  PoolHandle pool(rte_pktmbuf_pool_create(name.c_str(), buffers, kPoolCache,
                                          sizeof(fabric::PacketMeta),
                                          static_cast<uint16_t>(need.buffer_size), socket));
  if (!pool) {
    const std::string where = socket < 0 ? "" : fmt::format(" on NUMA node {}", socket);
    return fail(
        ErrorCode::kResource,
        fmt::format("cannot create {} packet buffers ({} MiB){}: {}", buffers,
                    (size_t{buffers} * need.buffer_size) >> 20, where, rte_strerror(rte_errno)));
  }
  return pool;
}

}  // namespace

void PoolDeleter::operator()(rte_mempool* p) const {
  rte_mempool_free(p);
}

Result<Pools> Pools::create(const fabric::Topology& topology, const MemoryNeed& need) {
  // Ordinary pages are all on one heap, whatever node the kernel takes them from.
  const bool by_node = topology.mode != fabric::EalMode::kNoHuge;
  const unsigned workers = static_cast<unsigned>(topology.workers.size());
  std::map<int, unsigned> on;  // workers by socket
  std::vector<int> socket_of(workers, SOCKET_ID_ANY);
  for (unsigned w = 0; w < workers; ++w) {
    if (by_node) socket_of[w] = static_cast<int>(rte_lcore_to_socket_id(w + 1));
    ++on[socket_of[w]];
  }
  Pools out;
  std::map<int, rte_mempool*> of_socket;
  for (const auto& [socket, count] : on) {
    const uint32_t buffers = (need.buffers * count + workers - 1) / workers;
    auto pool = create_pool(fmt::format("packets{}", out.pools_.size()), buffers, need,
                            on.size() == 1 ? SOCKET_ID_ANY : socket);
    if (!pool) return tl::unexpected(pool.error());
    of_socket[socket] = pool->get();
    out.pools_.push_back(std::move(*pool));
  }
  for (unsigned w = 0; w < workers; ++w) {
    rte_mempool* pool = of_socket[socket_of[w]];
    out.of_worker_.push_back(pool);
    for (const auto& q : topology.workers[w].queues) out.queues_.emplace_back(q, pool);
  }
  return out;
}

rte_mempool* Pools::of_queue(fabric::QueueRef queue) const {
  for (const auto& [q, pool] : queues_) {
    if (q.port == queue.port && q.queue == queue.queue) return pool;
  }
  return of_worker_.front();
}

}  // namespace sluice::dataplane
