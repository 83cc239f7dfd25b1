// The agent's HTTP front: what a program on this host asks of http://127.0.0.1:7480/PEER/… goes, as
// one signed call, to that peer, and its answer comes back as it streams in (docs/http.md).
// HTTP/1.1 with keep-alive, chunked bodies, events as they come, upgrades to WebSocket, bodies of
// any size. One thread, that of the event loop.
//
// Only names of this host are answered to, and only pages of this host may ask: what a browser is
// made to send by somebody else's page is refused.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "agent/agent.h"

namespace sluice::agent {

struct FrontConfig {
  std::string listen = "127.0.0.1:7480";  // ADDRESS:PORT of this host; empty: no front
  bool given = false;                     // by the operator, who wants that one or none
};

class Front {
 public:
  static constexpr size_t kMostConnections = 8'192;

  // `now` tells the agent the time before it is asked for anything; `kick` lets it go on.
  // kUsage: the address is none of this host's; kConflict: it is taken.
  static Result<std::unique_ptr<Front>> listen(boost::asio::io_context& io,
                                               const FrontConfig& config, Agent& agent,
                                               std::function<Now()> now,
                                               std::function<void()> kick);
  virtual ~Front() = default;
  virtual std::string address() const = 0;  // ADDRESS:PORT that it listens on
};

}  // namespace sluice::agent
