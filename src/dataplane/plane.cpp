#include "dataplane/plane.h"

#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>

#include <fmt/format.h>

namespace sluice::dataplane {

Result<std::unique_ptr<Plane>> Plane::create(const fabric::Topology& topology,
                                             const WorkerOptions& options, const MemoryNeed& need,
                                             const Clock& clock, fabric::Arena& arena) {
  std::unique_ptr<Plane> plane(new Plane);
  auto pool = create_pool("packets", need);
  if (!pool) return tl::unexpected(pool.error());
  plane->pool_ = std::move(*pool);

  const auto workers = static_cast<uint16_t>(topology.workers.size());
  for (uint16_t p = 0; p < topology.ports.size(); ++p) {
    auto port = Port::start(topology.ports[p], topology.rx_queues(p), workers, plane->pool_.get());
    if (!port) return tl::unexpected(port.error());
    plane->views_.push_back((*port)->view());
    plane->ports_.push_back(std::move(*port));
  }
  plane->qsbr_ = std::make_unique<fabric::Qsbr>(workers);
  auto mailboxes = fabric::Mailboxes::create(workers, plane->pool_.get());
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
                    .pool = plane->pool_.get(),
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

}  // namespace sluice::dataplane
