// What exchanges with HTTPS endpoints have in common: for each credential connections of its own,
// with what its endpoint's name was resolved to, so that nothing of one is ever used with another.
// One thread, that of the event loop.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "agent/front/curl_loop.h"
#include "agent/front/net.h"
#include "base/bytes.h"

namespace sluice::agent {

// Of one credential.
struct EgressLane {
  static constexpr std::chrono::seconds kResolvedFor{30};

  std::shared_ptr<CurlLoop> loop;
  std::vector<asio::ip::address> addresses;  // as last resolved, and allowed to who asked then
  steady_clock::time_point resolved{};
  steady_clock::time_point used{};
};

class Egress : public std::enable_shared_from_this<Egress> {
 public:
  static constexpr std::chrono::seconds kIdleFor{60};

  explicit Egress(asio::io_context& io) : io_(io), timer_(io) {}

  // `tag`: the credential's. Null: curl does not start.
  std::shared_ptr<EgressLane> lane(const ByteArray<16>& tag);

 private:
  void look();

  asio::io_context& io_;
  asio::steady_timer timer_;
  bool looks_ = false;
  std::map<ByteArray<16>, std::shared_ptr<EgressLane>> lanes_;
};

}  // namespace sluice::agent
