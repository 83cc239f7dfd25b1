// sluicectl tune: a map of cores and queues for a machine, what it needs, and what it may be
// expected to do.
#pragma once

#include <optional>
#include <string>

#include "cli/client.h"
#include "cli/core_map.h"
#include "control/config.h"

namespace CLI {
class App;
}

namespace sluice::cli {

// The map as a configuration that sluiced --check accepts, reasons as comments. `config`: the
// limits that it asks for.
std::string map_yaml(const CoreMap& map, const control::Config& config,
                     const host::Machine& machine);

// What the map and the limits take, from the formulas of the relay itself.
struct Capacity {
  uint64_t tables = 0, buffers = 0, rings = 0;  // bytes
  uint64_t pages = 0;                           // of 2 MB
  unsigned cores = 0;                           // that spin, and control's
  double mpps = 0;                              // of all workers, on the machine of our benchmarks
};
Capacity capacity_of(const control::Config& config);

// One of what the in-memory relay measured on the map's cores.
struct Rate {
  uint32_t payload = 0;   // bytes
  double mpps = 0;        // all workers together
  double alone_mpps = 0;  // the first one by itself
};
Result<std::vector<Rate>> measure_map(const CoreMap& map, uint32_t sessions);

class TuneCommand {
 public:
  explicit TuneCommand(CLI::App& app);
  std::optional<int> run(const Client& client) const;

 private:
  Result<control::Config> configuration(const CoreMap& map, const host::Machine& machine,
                                        std::string& yaml) const;
  void set_limits(control::LimitsConfig& limits) const;
  int print(const Client& client, const CoreMap& map, const control::Config& config,
            const std::string& yaml, const std::vector<Rate>& rates) const;

  CLI::App* command_;
  MapWishes wishes_;
  unsigned workers_ = 0, verifiers_ = 0;
  CLI::Option *workers_given_, *verifiers_given_;
  uint32_t agents_ = 0, edges_ = 0;
  std::string from_, out_;
  bool measure_ = false;
};

}  // namespace sluice::cli
