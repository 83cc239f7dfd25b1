// sluicectl top: what the relay does right now, from the differences of its counters.
#pragma once

#include "cli/client.h"

namespace sluice::cli {

struct TopOptions {
  double interval_s = 1;
  unsigned count = 0;  // looks; 0: until interrupted
  unsigned rows = 10;  // drops and agents at most
};

// The exit code.
int run_top(const Client& client, const TopOptions& options);

}  // namespace sluice::cli
