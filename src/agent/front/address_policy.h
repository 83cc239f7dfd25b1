// Which addresses an endpoint of the open Internet may have. A credential's URL is the operator's
// word, but its name is resolved by others: what it leads to must not be this host, its network or
// the cloud's own services (SSRF). Pure functions.
#pragma once

#include <optional>
#include <string_view>

#include <boost/asio/ip/address.hpp>

namespace sluice::agent {

// What the address is, such as "loopback"; none: a unicast address of the Internet, in its own
// form. IPv6 ranges that carry an IPv4 address inside are refused whatever it is: nobody publishes
// those for a server.
std::optional<std::string_view> refused_as(const boost::asio::ip::address& address);

}  // namespace sluice::agent
