// serve --upstream: keeps an HTTP server of this host in the daemon's list while it runs.
#pragma once

#include "agent/cli.h"

namespace sluice::agent {

Result<int> run_serve_upstream(const std::string& state, const ServeCommand& command);

}  // namespace sluice::agent
