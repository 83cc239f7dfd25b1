// Which core does what on a machine, proposed from what the machine is: pure, so that a machine
// elsewhere is served as well. The reasons go into the YAML as comments.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "host/machine.h"

namespace sluice::cli {

struct MapWishes {
  std::vector<std::string> ports;   // PCI addresses or virtual devices; empty: every free card
  std::optional<unsigned> workers;  // in all
  std::optional<unsigned> verifiers;
};

struct MapPort {
  std::string name;
  std::string device;
  unsigned node = 0;
  uint32_t speed_mbps = 0;  // 0: not known
  uint32_t mtu = 1500;
  unsigned queues = 0;  // that workers poll
  std::string why;
};

struct MapWorker {
  unsigned core = 0;
  unsigned node = 0;
  std::vector<std::pair<size_t, unsigned>> queues;  // port, queue
};

struct CoreMap {
  std::vector<MapPort> ports;
  unsigned control = 0;
  std::string why_control;
  std::vector<MapWorker> workers;
  std::string why_workers;
  std::vector<unsigned> verifiers;
  std::string why_verifiers;
  std::vector<std::string> notes;  // what the operator should know, a sentence each

  // Cores that nothing else should run on.
  std::set<unsigned> spinning() const;
};

// That one worker is counted with: half of what it does in memory with 512 bytes
// (docs/benchmarks.md, relay), for what a NIC's driver takes and for gusts.
inline constexpr uint32_t kMbpsPerWorker = 10'000;

// kUsage: a sentence with what is missing or cannot be.
Result<CoreMap> propose_map(const host::Machine& machine, const MapWishes& wishes);

}  // namespace sluice::cli
