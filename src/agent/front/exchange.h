// One call of a peer as an exchange with the HTTP server or endpoint that it is for (docs/http.md,
// docs/egress.md): from the call's first byte to the server's last. One thread, that of the event
// loop.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "agent/agent.h"
#include "agent/front/egress.h"
#include "agent/front/net.h"
#include "agent/front/upstream_config.h"
#include "base/wiped.h"
#include "crypto/secret.h"

namespace sluice::agent {

struct UpstreamConnection {
  static constexpr size_t kBuffer = 32u << 10;
  static constexpr std::chrono::seconds kIdleFor{4};  // below Node's five seconds

  explicit UpstreamConnection(const asio::any_io_executor& executor) : socket(executor) {
    buffer.reserve(kBuffer);  // Beast reads what fits it at once
  }
  // Before it is kept: what was read through it is gone.
  void wipe() noexcept {
    if (buffer.size() != 0) return;
    const auto room = buffer.prepare(buffer.capacity());
    crypto::wipe(room.data(), room.size());
  }
  bool stale(steady_clock::time_point now) const { return now >= idle_since + kIdleFor; }

  tcp::socket socket;
  // A server may say again what it was authorized with.
  boost::beast::basic_flat_buffer<WipingAllocator<char>> buffer;
  steady_clock::time_point idle_since{};
  // Of the credential that it was used with, zeros for none: some servers authorize connections.
  ByteArray<16> tag{};
};

struct UpstreamRow {
  UpstreamConfig config;
  std::string server;  // who keeps it; empty: the configuration
  uint64_t calls = 0, failed = 0, open = 0;
};

struct Upstream {
  static constexpr size_t kMostIdle = 128;

  UpstreamRow row;
  pid_t pid = 0;
  uint64_t seen_us = 0;
  std::deque<std::unique_ptr<UpstreamConnection>> idle;  // kept for the next; the newest last
};

// Exchanges that are open. They may outlive who began them, in an event loop that is taken down.
struct ExchangeTally {
  std::map<crypto::PublicKey, size_t> of;
  size_t open = 0;
};

struct ExchangeNeeds {
  asio::io_context& io;
  Agent& agent;
  std::function<void()> kick;  // lets the agent go on with what its calls were given
  std::function<std::shared_ptr<Upstream>(wire::CallProtocol, std::string_view target)> find;
  std::shared_ptr<ExchangeTally> tally;
  std::shared_ptr<Egress> egress;
};

// It runs by itself until the call has ended.
CallUser* begin_exchange(const ExchangeNeeds& needs, Call& call);

}  // namespace sluice::agent
