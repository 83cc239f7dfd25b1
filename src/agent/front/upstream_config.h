// An HTTP server of this host that peers' calls go to, as `serve --upstream`, the local API and
// agent.yaml name it. Plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

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
  UpstreamUrl url;
  std::string prefix;        // of the paths that go there; it is taken off. Empty: all
  uint64_t timeout_s = 600;  // until the answer begins
  // What callers wrote of authorization does not go there, whether or not the relay gave a
  // credential for the call; with one it never does.
  bool strip_authorization = false;
  bool strip_cookies = false;  // neither do cookies, nor do the server's come back
};

// "raw" and the names of protocol_of(). kUsage: the names there are.
Result<wire::CallProtocol> parse_upstream_protocol(std::string_view name);
// Without a slash at its end. kUsage: it does not begin with one.
Result<std::string> parse_prefix(std::string_view path);

}  // namespace sluice::agent
