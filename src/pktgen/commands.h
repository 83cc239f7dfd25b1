// The two measuring commands, from options to the exit code's error.
#pragma once

#include "pktgen/options.h"

namespace sluice::pktgen {

Result<void> run_traffic(const Options& options);
Result<void> search_throughput(const Options& options);

}  // namespace sluice::pktgen
