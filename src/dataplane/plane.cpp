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
    if (!topology.verifiers.empty()) {
      plane->verify_queues_.push_back(std::make_unique<VerifyQueue>());
      context.calls->verifier_core = plane->verify_queues_.back().get();
    }
    plane->workers_.push_back(
        std::make_unique<Worker>(std::move(context), topology.workers[w].queues, topology.idle));
  }
  const auto verifiers = static_cast<unsigned>(topology.verifiers.size());
  if (verifiers != 0) plane->verifier_qsbr_ = std::make_unique<fabric::Qsbr>(verifiers);
  for (unsigned v = 0; v < verifiers; ++v) {
    plane->verifiers_.push_back(std::make_unique<Verifier>(
        v, arena, *plane->verifier_qsbr_, topology.idle == fabric::IdleMode::kBackoff));
    for (unsigned w = v; w < workers; w += verifiers) {
      plane->verifiers_[v]->serve(*plane->verify_queues_[w]);
    }
  }
  return plane;
}

Plane::~Plane() {
  stop();
}

Result<void> Plane::start() {
  stop_.store(false);
  struct Launch {
    Worker* worker;
    Verifier* verifier;  // one of the two
    const std::atomic<bool>* stop;
    std::atomic<unsigned>* ended;
  };
  static Launch launches[fabric::kMaxWorkers + fabric::kMaxVerifiers];
  const auto entry = [](void* arg) -> int {
    const auto* l = static_cast<Launch*>(arg);
    if (l->worker != nullptr) l->worker->run(*l->stop);
    if (l->verifier != nullptr) l->verifier->run(*l->stop);
    l->ended->fetch_add(1, std::memory_order_release);
    return 0;
  };
  const size_t workers = workers_.size();
  for (size_t i = 0; i < workers + verifiers_.size(); ++i) {
    launches[i] = {i < workers ? workers_[i].get() : nullptr,
                   i < workers ? nullptr : verifiers_[i - workers].get(), &stop_, &ended_};
    if (rte_eal_remote_launch(entry, &launches[i], static_cast<unsigned>(i) + 1) != 0) {
      return fail(ErrorCode::kInternal,
                  i < workers
                      ? fmt::format("worker {} does not start on its lcore", i)
                      : fmt::format("verifier {} does not start on its lcore", i - workers));
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
