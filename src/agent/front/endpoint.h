// Where a credential says that its requests go: the URL taken apart, the host judged by its name,
// the addresses by what they are, and the URL of one request. The URL is a secret: no error has any
// of it. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "base/error.h"
#include "crypto/secret_text.h"

namespace sluice::agent {

struct Endpoint {
  std::string host;  // a name in lower case without a dot at its end, or an address
  uint16_t port = 0;
  bool plain = false;    // http
  bool allowed = false;  // by its name: any address, and plain HTTP
  bool whole = false;    // a webhook: the URL is that of every request
  // "/…", or nothing, and what is behind the "?".
  crypto::SecretText path, query;
};

// `allow`: hosts as in Endpoint::host. kRefused: it is none that may be asked; kUsage: it is none.
Result<Endpoint> parse_endpoint(std::string_view url, bool whole,
                                const std::vector<std::string>& allow);

// A host as it is compared; kUsage: it is none.
Result<std::string> parse_host_name(std::string_view name);

// All of them, or none is asked: a name that leads to a forbidden address as well is up to
// something. kRefused.
Result<void> check_addresses(const Endpoint& endpoint,
                             const std::vector<boost::asio::ip::address>& addresses);

// The URL for a request to `target`, which is a path that begins with a slash, a query, or nothing.
// Without a NUL at its end.
void write_url(crypto::SecretText& out, const Endpoint& endpoint, std::string_view target);

}  // namespace sluice::agent
