// The dataplane as a whole: pools, ports, rings and workers, in an order in which each outlives
// what uses it. Created and destroyed by the main thread, after EAL and before it ends.
#pragma once

#include <memory>
#include <string>

#include "dataplane/pools.h"
#include "dataplane/port.h"
#include "dataplane/worker.h"

namespace sluice::dataplane {

class Plane {
 public:
  static Result<std::unique_ptr<Plane>> create(const fabric::Topology& topology,
                                               const WorkerOptions& options, const MemoryNeed& need,
                                               const Clock& clock, fabric::Arena& arena);
  ~Plane();

  fabric::Mailboxes& mailboxes() { return *mailboxes_; }
  fabric::Qsbr& qsbr() { return *qsbr_; }
  // Of the verifiers; null where there are none.
  fabric::Qsbr* verifier_qsbr() { return verifier_qsbr_.get(); }
  rte_mempool* pool(unsigned worker = 0) { return pools_->of_worker(worker); }
  std::vector<fabric::PortStatus> port_status() const;
  std::vector<bool> links() const;  // which ports' link is up; cheap
  // What works, but slower than this hardware could; a sentence each. Empty on one NUMA node.
  std::vector<std::string> advice() const;

  Result<void> start();  // launches every worker on its lcore
  void stop();           // asks them to end and waits

  // For tests, which poll themselves and never call start().
  Worker& worker(unsigned i) { return *workers_[i]; }
  Verifier& verifier(unsigned i) { return *verifiers_[i]; }

 private:
  Plane() = default;

  std::unique_ptr<Pools> pools_;
  fabric::Topology topology_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::vector<PortView> views_;
  std::unique_ptr<fabric::Qsbr> qsbr_;
  std::unique_ptr<fabric::Mailboxes> mailboxes_;
  std::vector<std::unique_ptr<VerifyQueue>> verify_queues_;  // by worker
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<fabric::Qsbr> verifier_qsbr_;
  std::vector<std::unique_ptr<Verifier>> verifiers_;
  std::atomic<bool> stop_{false};
  std::atomic<unsigned> ended_{0};  // workers that have returned
  bool running_ = false;
};

}  // namespace sluice::dataplane
