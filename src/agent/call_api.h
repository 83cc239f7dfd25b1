// The part of the daemon's local API that is about calls; see docs/calls.md:
//   POST /v1/calls         {"peer":X,"data":base64[,"capability","protocol","service","scopes",
//                           "timeout_ms","trace","idempotency_key"]} → {"call":ID}
//   GET  /v1/calls/wait    ?call=ID&state=S&wait_ms=M → the call, once its state is not S; at its
//                           end with "data" and "error"; whoever stops asking has given it up
//   DELETE /v1/calls       ?call=ID: given up at once → {}
//   GET  /v1/calls         {"calls":[…]}: open and recent ones, newest first
//   GET  /v1/serve         ?server=HEX&slots=N&wait_ms=M → {"calls":[…],"cancelled":[ID,…]}
//   DELETE /v1/serve       ?server=HEX: it takes no more calls; what it has is answered for it → {}
//   POST /v1/serve/answer  {"server":HEX,"call":ID,"status":N,"data":base64} → {}
// One thread.
#pragma once

#include "agent/call_jobs.h"
#include "agent/servers.h"

namespace sluice::agent {

class CallApi {
 public:
  explicit CallApi(Agent& agent) : agent_(agent), servers_(agent), jobs_(agent) {}

  bool handles(const http::Request& request) const;
  void handle(const http::Request& request, http::Respond respond, Instant at);
  Servers& servers() { return servers_; }
  void pump(Instant at);
  uint64_t wake_us() const { return std::min(servers_.wake_us(), jobs_.wake_us()); }

 private:
  struct Route {
    std::string_view method, path;
    Result<void> (CallApi::*handle)(const http::Request& request, http::Respond& respond,
                                    Instant at);
  };
  static const Route* find(const http::Request& request);

  Result<void> open(const http::Request& request, http::Respond& respond, Instant at);
  Result<void> wait(const http::Request& request, http::Respond& respond, Instant at);
  Result<void> cancel(const http::Request& request, http::Respond& respond, Instant at);
  Result<void> list(const http::Request& request, http::Respond& respond, Instant at);
  Result<void> ask(const http::Request& request, http::Respond& respond, Instant at);
  Result<void> leave(const http::Request& request, http::Respond& respond, Instant at);
  Result<void> answer(const http::Request& request, http::Respond& respond, Instant at);

  Agent& agent_;
  Servers servers_;
  CallJobs jobs_;
};

}  // namespace sluice::agent
