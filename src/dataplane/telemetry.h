// DPDK telemetry: /sluice/... commands on EAL's own socket, for dpdk-telemetry.py and whatever
// collects from DPDK applications. Answers come from EAL's telemetry thread and read the arena's
// counters alone. Created and destroyed by the main thread, after EAL and before the arena ends.
#pragma once

#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "fabric/arena.h"

namespace sluice::dataplane {

class Telemetry {
 public:
  // One at a time. kResource where EAL does not take the commands.
  static Result<std::unique_ptr<Telemetry>> start(const fabric::Arena& arena);
  // Commands that come later answer with an error; one that is being answered is waited for.
  ~Telemetry();
  Telemetry(const Telemetry&) = delete;
  Telemetry& operator=(const Telemetry&) = delete;

 private:
  Telemetry() = default;
};

}  // namespace sluice::dataplane
