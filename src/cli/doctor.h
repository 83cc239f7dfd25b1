// sluicectl doctor: what keeps this host or its relay from what it could be, a line for each thing
// looked at, with what helps.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/finding.h"
#include "cli/client.h"
#include "control/config.h"
#include "host/machine.h"

namespace CLI {
class App;
}

namespace sluice::cli {

using Findings = std::vector<Finding>;

// What the relay answers; none: `check` failed, and that is a finding.
std::optional<nlohmann::json> ask(const Client& client, const char* target, const char* check,
                                  Findings& out);

// The machine against the map of cores and queues; without a configuration, by itself. `running`:
// the relay has its hugepages already.
void examine_host(const host::Machine& machine, const control::Config* config, bool running,
                  Findings& out);
// The relay that runs: asked twice, a second apart.
void examine_relay(const Client& client, const nlohmann::json& status, Findings& out);
// What trust rests on: keys, revocations, denials, ciphers, who may read and command.
void examine_security(const Client& client, const nlohmann::json* status,
                      const control::Config* config, Findings& out);

class DoctorCommand {
 public:
  explicit DoctorCommand(CLI::App& app);
  std::optional<int> run(const Client& client) const;

 private:
  CLI::App* command_;
  std::string config_ = "/etc/sluice/sluiced.yaml";
  std::string from_;
  bool security_ = false;
};

}  // namespace sluice::cli
