// Where calls of peers that carry HTTP go from this host: an upstream for each protocol and path,
// named by `serve --upstream` or the configuration, and an exchange with it for each call
// (docs/http.md). One thread, that of the event loop.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/front/exchange.h"

namespace sluice::agent {

class Upstreams {
 public:
  static constexpr size_t kMost = 64;
  static constexpr size_t kMostOpen = 16'384;
  static constexpr uint64_t kLeaseUs = 15'000'000;  // of one that a program keeps

  Upstreams(boost::asio::io_context& io, Agent& agent, std::function<void()> kick);

  // CallHooks' part of the callee, for calls of kHttpService.
  AcceptStatus admit(const PeerEdge& from, const wire::Envelope& envelope) const;
  CallUser* user(Call& call);

  // Hosts that every egress may reach, whatever their addresses; before any is added.
  void allow(std::vector<std::string> hosts) { allow_ = std::move(hosts); }
  // Adds one, or says that it is still there. `server` empty: for good. kConflict: another keeps
  // that protocol and path.
  Result<void> set(const std::string& server, pid_t pid, const UpstreamConfig& config,
                   uint64_t now_us);
  void drop(const std::string& server);
  void pump(uint64_t now_us);
  uint64_t wake_us() const;

  std::vector<UpstreamRow> rows() const;

 private:
  // The longest prefix that fits; null: none.
  std::shared_ptr<Upstream> find(wire::CallProtocol protocol, std::string_view target) const;

  ExchangeNeeds needs_;
  std::vector<std::shared_ptr<Upstream>> upstreams_;
  std::vector<std::string> allow_;
  uint64_t looked_us_ = 0;
};

}  // namespace sluice::agent
