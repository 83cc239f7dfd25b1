// The Environment Abstraction Layer's lifetime, and what the process needs from it. One per
// process, owned by the main thread, destroyed after everything else of DPDK.
#pragma once

#include <memory>

#include "base/error.h"
#include "dataplane/memory_need.h"
#include "fabric/topology.h"

namespace sluice::dataplane {

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
