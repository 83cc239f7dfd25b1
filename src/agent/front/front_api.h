// The daemon's local API of its HTTP side:
//   POST   /v1/upstreams             {"server","protocol","upstream"[,"path","timeout_s"]} → {}, or
//                                    "egress": true [,"allow"] in place of "upstream"
//   DELETE /v1/upstreams?server=HEX  → {}
//   GET    /v1/upstreams             → {"front","upstreams":[…]}
// docs/http.md has their fields.
// One thread, that of the event loop.
#pragma once

#include "agent/front/front.h"
#include "agent/front/upstreams.h"
#include "agent/jobs.h"
#include "http/message.h"

namespace sluice::agent {

class FrontApi {
 public:
  FrontApi(Upstreams& upstreams, const std::unique_ptr<Front>& front)
      : upstreams_(upstreams), front_(front) {}

  bool handles(const http::Request& request) const { return request.path == "/v1/upstreams"; }
  void handle(const http::Request& request, const http::Respond& respond, Instant at);

 private:
  Result<void> set(const http::Request& request, Instant at);

  Upstreams& upstreams_;
  const std::unique_ptr<Front>& front_;
};

}  // namespace sluice::agent
