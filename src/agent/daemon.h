// `sluice-agent up`: the event loop that joins the agent to its UDP socket, its timers and its
// local HTTP API on STATE/agent.sock. Everything runs on the calling thread.
#pragma once

#include <string>

#include "agent/identity_file.h"

namespace sluice::agent {

// Runs until SIGINT or SIGTERM. kConflict when a daemon already serves this state folder.
// `key_log`: where the keys of sessions are written; empty: as the settings say, or nowhere.
Result<void> run_daemon(const std::string& state, AgentIdentity identity,
                        const std::string& key_log);

}  // namespace sluice::agent
