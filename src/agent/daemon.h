// `sluice-agent up`: the event loop that joins the agent to its UDP socket, its timers and its
// local HTTP API on STATE/agent.sock. Everything runs on the calling thread.
#pragma once

#include <string>

#include "agent/identity_file.h"

namespace sluice::agent {

// Runs until SIGINT or SIGTERM. kConflict when a daemon already serves this state folder.
Result<void> run_daemon(const std::string& state, AgentIdentity identity);

}  // namespace sluice::agent
