// sluicectl trace: asks the relay for a trace's calls, page by page, joins what came apart, shows.
#pragma once

#include <cstdint>
#include <string>

#include "cli/client.h"

namespace sluice::cli {

struct TraceSpan {
  uint64_t since_ms = 0;  // Unix
  uint64_t until_ms = UINT64_MAX;
};

int run_trace(const Client& client, const std::string& id, const TraceSpan& span);

}  // namespace sluice::cli
