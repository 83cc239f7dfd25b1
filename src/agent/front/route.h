// Where a request to the agent's HTTP front goes: which peer, which protocol, and what path there.
// Pure functions over what an HTTP parser has taken apart.
//
//   http://127.0.0.1:7480/PEER/PATH            PEER is a name, a DID or a virtual address
//   http://127.0.0.1:7480/PEER/PROTOCOL/PATH   PROTOCOL: a2a, mcp, openai-responses, anp, acp
//   http://PEER.sluice.localhost:7480/PATH     and http://PROTOCOL.PEER.sluice.localhost:7480/PATH
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "wire/call.h"

namespace sluice::agent {

// Of the envelopes of calls that carry an HTTP exchange, among the callee's services.
inline constexpr uint16_t kHttpService = 80;

struct Route {
  std::string peer;
  wire::CallProtocol protocol = wire::CallProtocol::kRaw;
  std::string target;  // path and query at the peer, with the leading slash
};

// kUsage: nothing that can be followed, with what would do.
Result<Route> find_route(std::string_view target, std::string_view host);

// Whether a request with this Host is meant for the front: names of this host alone, so that no
// web page elsewhere can be made to call peers by a name of its own (DNS rebinding).
bool is_own_host(std::string_view host);
// Whether a page with this Origin may ask a front that goes by `host`: another program's of this
// host, not one that came through the front itself.
bool may_ask(std::string_view origin, std::string_view host);

// "mcp", and "openai-responses" or "openai" for the same; none for anything else.
std::optional<wire::CallProtocol> protocol_of(std::string_view name);

}  // namespace sluice::agent
