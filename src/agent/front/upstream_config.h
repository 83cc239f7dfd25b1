// Where peers' calls that carry HTTP go: an HTTP server of this host, as `serve --upstream` names
// it, or the HTTPS endpoint of each call's credential (`egress`); in the local API and agent.yaml
// likewise. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "wire/call.h"

namespace sluice::agent {

struct UpstreamUrl {  // http://HOST[:PORT][/PATH]
  std::string host;
  uint16_t port = 80;
  std::string path;  // without a slash at its end

  std::string authority() const;
};
// kUsage: what is wrong with it.
Result<UpstreamUrl> parse_upstream(std::string_view text);

inline constexpr uint64_t kLongestUpstreamS = 86'400;

struct UpstreamConfig {
  wire::CallProtocol protocol = wire::CallProtocol::kRaw;
  UpstreamUrl url;      // of a server
  bool egress = false;  // in place of it
  // Of egress: hosts that may have any address, as parse_host_name() has them.
  std::vector<std::string> allow;
  std::string prefix;        // of the paths that go there; it is taken off. Empty: all
  uint64_t timeout_s = 600;  // until the answer begins
  // What callers wrote of authorization does not go there, whether or not the relay gave a
  // credential for the call; with one it never does.
  bool strip_authorization = false;
  bool strip_cookies = false;  // neither do cookies, nor do the server's come back
};

// For people: the server's URL, or "egress".
std::string describe(const UpstreamConfig& config);
// Calls go there with what the relay gave for them, and with nothing of the caller's own.
void make_egress(UpstreamConfig& config);

// "raw" and the names of protocol_of(). kUsage: the names there are.
Result<wire::CallProtocol> parse_upstream_protocol(std::string_view name);
// Without a slash at its end. kUsage: it does not begin with one.
Result<std::string> parse_prefix(std::string_view path);

}  // namespace sluice::agent
