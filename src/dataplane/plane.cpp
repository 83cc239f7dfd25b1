#include "dataplane/plane.h"

#include <set>

#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <fmt/format.h>

namespace sluice::dataplane {

Result<std::unique_ptr<Plane>> Plane::create(const fabric::Topology& topology,
                                             const WorkerOptions& options, const MemoryNeed& need,
                                             const Clock& clock, fabric::Arena& arena) {
  std::unique_ptr<Plane> plane(new Plane);
  plane->topology_ = topology;
  auto pools = Pools::create(topology, need);
  if (!pools) return tl::unexpected(pools.error());
  plane->pools_ = std::make_unique<Pools>(std::move(*pools));
  const Pools& buffers = *plane->pools_;

  const auto workers = static_cast<uint16_t>(topology.workers.size());
  for (uint16_t p = 0; p < topology.ports.size(); ++p) {
    auto port = Port::start(topology.ports[p], p, topology.rx_queues(p), workers, buffers);
    if (!port) return tl::unexpected(port.error());
    plane->views_.push_back((*port)->view());
    plane->ports_.push_back(std::move(*port));
  }
  plane->qsbr_ = std::make_unique<fabric::Qsbr>(workers);
  auto mailboxes = fabric::Mailboxes::create(workers, buffers.of_worker(0));
  if (!mailboxes) return tl::unexpected(mailboxes.error());
  plane->mailboxes_ = std::move(*mailboxes);

  for (unsigned w = 0; w < workers; ++w) {
    Context context{.worker = w,
                    .options = options,
                    .clock = clock,
                    .aead = crypto::aead(),
                    .arena = arena,
                    .mailboxes = *plane->mailboxes_,
                    .qsbr = *plane->qsbr_,
                    .pool = buffers.of_worker(w),
                    .ports = plane->views_,
                    .counters = arena.counters(w)};
    plane->workers_.push_back(
        std::make_unique<Worker>(std::move(context), topology.workers[w].queues, topology.idle));
  }
  return plane;
}

Plane::~Plane() {
  stop();
}

Result<void> Plane::start() {
  stop_.store(false);
  for (unsigned w = 0; w < workers_.size(); ++w) {
    struct Launch {
      Worker* worker;
      const std::atomic<bool>* stop;
      std::atomic<unsigned>* ended;
    };
    static Launch launches[fabric::kMaxWorkers];
    launches[w] = {workers_[w].get(), &stop_, &ended_};
    const auto entry = [](void* arg) -> int {
      const auto* l = static_cast<Launch*>(arg);
      l->worker->run(*l->stop);
      l->ended->fetch_add(1, std::memory_order_release);
      return 0;
    };
    if (rte_eal_remote_launch(entry, &launches[w], w + 1) != 0) {
      return fail(ErrorCode::kInternal, fmt::format("worker {} does not start on its lcore", w));
    }
    running_ = true;
  }
  return {};
}

void Plane::stop() {
  if (!running_) return;
  stop_.store(true);
  rte_eal_mp_wait_lcore();
  // EAL's own synchronisation is nothing that a sanitizer of this program can see.
  (void)ended_.load(std::memory_order_acquire);
  running_ = false;
}

std::vector<fabric::PortStatus> Plane::port_status() const {
  std::vector<fabric::PortStatus> out;
  for (const auto& p : ports_) out.push_back(p->status());
  return out;
}

std::vector<bool> Plane::links() const {
  std::vector<bool> out;
  for (const auto& p : ports_) out.push_back(p->link_up());
  return out;
}

std::vector<std::string> Plane::advice() const {
  std::vector<std::string> out;
  for (unsigned w = 0; w < topology_.workers.size(); ++w) {
    const auto node = static_cast<int>(rte_lcore_to_socket_id(w + 1));
    std::set<uint16_t> told;
    for (const auto& q : topology_.workers[w].queues) {
      const int of_port = ports_[q.port]->status().socket;
      if (of_port < 0 || of_port == node || !told.insert(q.port).second) continue;
      out.push_back(fmt::format(
          "port {} is on NUMA node {}, worker {} (core {}) on node {}: every packet crosses "
          "between them; give its queues to a core of node {}",
          topology_.ports[q.port].name, of_port, w, topology_.workers[w].core, node, of_port));
    }
  }
  return out;
}

}  // namespace sluice::dataplane
