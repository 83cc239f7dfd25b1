// `sluice-agent up`: the event loop that joins the agent to its UDP socket, its timers and its
// local HTTP API on STATE/agent.sock. Everything runs on the calling thread.
#pragma once

#include <string>

#include "agent/identity_file.h"

namespace sluice::agent {

// Of the command line; what is empty is as the settings say.
struct UpOptions {
  std::string key_log;  // where the keys of sessions are written
  std::string tun;      // name of the TUN device
};

// Runs until SIGINT or SIGTERM. kConflict when a daemon already serves this state folder.
Result<void> run_daemon(const std::string& state, AgentIdentity identity, const UpOptions& options);

}  // namespace sluice::agent
