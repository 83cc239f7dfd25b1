// serve --upstream and egress: keep in the daemon's list, while they run, an HTTP server of this
// host, or that calls go to the HTTPS endpoint of their credential.
#pragma once

#include "agent/cli.h"

namespace sluice::agent {

Result<int> run_serve_upstream(const std::string& state, const ServeCommand& command);
Result<int> run_egress(const std::string& state, const EgressCommand& command);

}  // namespace sluice::agent
