// Where an agent's daemon keeps its state, and where programs of this host find it. No state.
#pragma once

#include <string>

#include "base/error.h"

namespace sluice::agent {

// $XDG_STATE_HOME/sluice-agent, or ~/.local/state/sluice-agent.
Result<std::string> default_state();
// Of the daemon's local API, within a state folder.
std::string socket_path(const std::string& state);

}  // namespace sluice::agent
