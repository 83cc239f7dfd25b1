// One client of the HTTP front (docs/http.md): a connection of this host, whose requests go as
// calls, one after the other. One thread, that of the event loop.
#pragma once

#include <functional>

#include "agent/agent.h"
#include "agent/front/net.h"

namespace sluice::agent {

struct FrontNeeds {
  Agent& agent;
  std::function<Now()> now;    // tells the agent the time before it is asked for anything
  std::function<void()> kick;  // lets it go on with what its calls were given
};

// Until it is closed. `needs` outlives it, or the event loop is taken down.
awaitable<void> serve_client(tcp::socket socket, const FrontNeeds& needs);

}  // namespace sluice::agent
