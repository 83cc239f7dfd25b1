// A server of this host, asked over TCP in HTTP/1.1: connections that are kept, requests that are
// repeated where a kept one had ended, upgrades (docs/http.md).
#pragma once

#include "agent/front/exchange.h"
#include "agent/front/upstream_link.h"

namespace sluice::agent {

// `upstream` and what `waiter` and `body` are live as long as the link's owner.
std::shared_ptr<UpstreamLink> make_plain_link(asio::io_context& io,
                                              std::shared_ptr<Upstream> upstream,
                                              CallWaiter& waiter, RequestBody& body);

}  // namespace sluice::agent
