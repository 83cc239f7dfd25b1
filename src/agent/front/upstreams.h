// Where calls of peers that carry HTTP go on this host: an upstream for each protocol and path,
// named by `serve --upstream` or the configuration, and an exchange with it for each call
// (docs/http.md). One thread, that of the event loop.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "agent/agent.h"

namespace sluice::agent {

struct UpstreamUrl {  // http://HOST[:PORT][/PATH]
  std::string host;
  uint16_t port = 80;
  std::string path;  // without a slash at its end

  std::string authority() const;
};
// kUsage: what is wrong with it.
Result<UpstreamUrl> parse_upstream(std::string_view text);

struct UpstreamConfig {
  wire::CallProtocol protocol = wire::CallProtocol::kRaw;
  UpstreamUrl url;
  std::string prefix;        // of the paths that go there; it is taken off. Empty: all
  uint64_t timeout_s = 600;  // until the answer begins
};

struct UpstreamRow {
  UpstreamConfig config;
  std::string server;  // who keeps it; empty: the configuration
  uint64_t calls = 0, failed = 0, open = 0;
};

struct UpstreamCounters {
  uint64_t calls = 0;
  uint64_t unreachable = 0;  // no connection
  uint64_t broken = 0;       // the answer began and did not end
};

class Exchange;

class Upstreams {
 public:
  static constexpr size_t kMost = 64;
  static constexpr size_t kMostOpen = 16'384;
  static constexpr size_t kMostIdle = 128;          // connections that are kept, of each
  static constexpr uint64_t kLeaseUs = 15'000'000;  // of one that a program keeps

  Upstreams(boost::asio::io_context& io, Agent& agent, std::function<void()> kick);
  ~Upstreams();

  // CallHooks' part of the callee, for calls of kHttpService.
  AcceptStatus admit(const PeerEdge& from, const wire::Envelope& envelope) const;
  CallUser* user(Call& call);

  // Adds one, or says that it is still there. `server` empty: for good. kConflict: another keeps
  // that protocol and path.
  Result<void> set(const std::string& server, pid_t pid, const UpstreamConfig& config,
                   uint64_t now_us);
  void drop(const std::string& server);
  void pump(uint64_t now_us);
  uint64_t wake_us() const;

  std::vector<UpstreamRow> rows() const;
  const UpstreamCounters& counters() const { return tally_->counters; }

 private:
  friend class Exchange;
  struct Connection;
  struct Upstream {
    UpstreamRow row;
    pid_t pid = 0;
    uint64_t seen_us = 0;
    std::deque<std::unique_ptr<Connection>> idle;
  };
  // The longest prefix that fits; null: none.
  std::shared_ptr<Upstream> find(wire::CallProtocol protocol, std::string_view target) const;

  boost::asio::io_context& io_;
  Agent& agent_;
  std::function<void()> kick_;
  std::vector<std::shared_ptr<Upstream>> upstreams_;
  // Exchanges may outlive their list, in an event loop that is being taken down.
  struct Tally {
    std::map<crypto::PublicKey, size_t> of;
    size_t open = 0;
    UpstreamCounters counters;
  };
  std::shared_ptr<Tally> tally_ = std::make_shared<Tally>();
  uint64_t looked_us_ = 0;
};

}  // namespace sluice::agent
