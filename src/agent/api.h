// The daemon's local HTTP API, free of sockets (docs of each answer: see `sluice-agent --help`):
//   GET  /v1/info       state of the agent, its session and counters
//   GET  /v1/peers      its edges
//   /v1/trust/…, /v1/visibility   see trust_api.h
//   /v1/calls…, /v1/serve…   see call_api.h
//   POST /v1/messages   {"peer":X,"messages":["base64",…]} → {"sent":n}
//   GET  /v1/messages   ?max=N&wait_ms=M[&peer=X] →
//   {"messages":[{"from","name","data"},…],"dropped":n} POST /v1/ping
//   {"peer":X,"count","interval_us","window","size","timeout_ms"} →
//                       {"sent","received","lost","rtt_us":{"min","p50","p90","p99","p99.9","max"}}
// X is a DID, a virtual address or a name. One thread, that of the event loop.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "agent/call_api.h"
#include "agent/identity_change.h"
#include "agent/identity_file.h"
#include "agent/inbox.h"
#include "agent/jobs.h"
#include "agent/trust_api.h"

namespace sluice::agent {

// The last problem that was reported, for `info`.
struct LastError {
  std::string message;
  uint64_t unix_ms = 0;
};

// What the API shows of the daemon around the agent; filled anew for every answer.
struct DaemonView {
  std::string relay_address;  // resolved, empty before
  std::string own_address;
  LastError last_error;
  uint64_t started_unix_ms = 0;
  uint64_t udp_sent = 0, udp_received = 0, udp_dropped = 0, udp_errors = 0;
  std::string key_log;             // where sessions' keys are written; empty: nowhere
  nlohmann::json tun;              // null: there is no TUN device
  const char* offload = "asking";  // on, off: segmentation offload towards the relay
};

class Api {
 public:
  Api(const AgentIdentity& identity, const Pins& pins, Agent& agent, IdentityChange& change,
      std::function<bool()> room, std::function<DaemonView()> view);

  void handle(const http::Request& request, http::Respond respond, Instant at);
  void on_message(const PeerEdge& from, Bytes data);
  void on_pong(const crypto::PublicKey& from, uint64_t id, uint64_t now_us);
  Servers& servers() { return calls_.servers(); }
  // Lets everything go on that can. To be called after each change and at wake_us().
  void pump(Instant at);
  uint64_t wake_us() const;

 private:
  void send_messages(const http::Request& request, http::Respond respond, Instant at);
  void receive_messages(const http::Request& request, http::Respond respond, Instant at);
  void ping(const http::Request& request, http::Respond respond, Instant at);
  void rotate_identity(http::Respond respond, Instant at);
  http::Response info(Instant at) const;
  http::Response peers(Instant at) const;

  const AgentIdentity& identity_;
  const Pins& pins_;
  Agent& agent_;
  IdentityChange& change_;
  std::function<DaemonView()> view_;
  Inbox inbox_;
  SendJobs sends_;
  ReceiveWaits receives_;
  PingJobs pings_;
  TrustApi trust_;
  CallApi calls_;
};

}  // namespace sluice::agent
