// An HTTPS endpoint that the call's credential names, asked by libcurl in HTTP/1.1 or HTTP/2
// (docs/egress.md). What is refused or fails says nothing of where it was to go.
#pragma once

#include "agent/front/egress.h"
#include "agent/front/exchange.h"
#include "agent/front/upstream_link.h"

namespace sluice::agent {

// As make_plain_link. `allow`: hosts that may be private.
std::shared_ptr<UpstreamLink> make_curl_link(asio::io_context& io, Egress& egress,
                                             std::vector<std::string> allow, CallWaiter& waiter,
                                             RequestBody& body);

}  // namespace sluice::agent
