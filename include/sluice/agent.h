// libsluice-agent: calls, messages and trust for programs that do not speak HTTP. It talks to the
// running daemon (`sluice-agent up`) over its Unix socket; keys and tunnel are the daemon's, so a
// program that uses this library holds no secret. Standard library alone; C++17 and later.
//
//   sluice::client::Agent agent;
//   std::string answer = agent.call("bob", "hello").data;
//
//   sluice::client::Server server(agent, [](const sluice::client::IncomingCall& call) {
//     return "you said " + call.data;
//   });
//
// A peer is named by its DID, its virtual address or its name. Bytes travel as std::string, UTF-8
// or not. Failures are thrown as Error, a call's as CallFailed. Link with `pkg-config --cflags
// --libs sluice-agent`. docs/clients.md has the same at length.
//
// Threads: an Agent may be used by any number of them at a time; each blocks for its own answer.
// Everything else is a plain value. Agent must outlive its Servers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#define SLUICE_EXPORT __attribute__((visibility("default")))

namespace sluice::client {

using Milliseconds = std::chrono::milliseconds;

// The largest request, response and message batch, in bytes.
inline constexpr std::size_t kMostBytes = 16u << 20;

// `code()` is one of docs/errors.md ("unreachable", "refused", "timeout", …) and does not change
// between releases; what() is a sentence for people, with the remedy.
class SLUICE_EXPORT Error : public std::runtime_error {
 public:
  Error(std::string code, const std::string& sentence);
  ~Error() override;
  const std::string& code() const noexcept { return code_; }

 private:
  std::string code_;
};

// A call that was opened and did not succeed. `reason()` is the relay's decision or the peer's
// ("rate_limited", "not_served", "exit_status", …: docs/calls.md).
class SLUICE_EXPORT CallFailed : public Error {
 public:
  struct Details {
    std::string reason, hint, trace;
    std::optional<Milliseconds> retry_after;
    unsigned status = 0;  // that the peer ended it with
    std::string data;     // of the response, as far as it came
  };
  CallFailed(std::string code, const std::string& sentence, Details details);
  ~CallFailed() override;
  const std::string& reason() const noexcept { return details_.reason; }
  const Details& details() const noexcept { return details_; }

 private:
  Details details_;
};

// Cancels a call from another thread. A copy is the same token.
class SLUICE_EXPORT Cancel {
 public:
  Cancel();
  void operator()() const;  // any number of times, from any thread
  bool asked() const noexcept;

 private:
  friend class Agent;
  struct State;
  std::shared_ptr<State> state_;
};

struct CallOptions {
  std::string capability = "tool_call";  // read, delegate, tool_call, workflow_command
  std::string protocol = "raw";          // raw, a2a, mcp, openai, anp, acp
  std::uint16_t service = 0;             // a number that the callee gives a meaning
  std::vector<std::string> scopes;       // up to four names
  Milliseconds timeout{30'000};          // for everything; 1 ms to 1 h
  std::string trace;                     // 32 hex digits; empty: drawn
  std::string idempotency_key;           // 32 hex digits; empty: drawn
  std::optional<Cancel> cancel;
  // Hears "awaiting_approval", "open" and so on, in the calling thread.
  std::function<void(const std::string& state)> on_state;
};

struct CallResult {
  std::string data;
  std::string call, message_id, trace, idempotency_key;
  std::string peer, name;  // its DID, and what it calls itself
  Milliseconds total{};
};

// A call of a peer. What it says of itself comes from its signed envelope.
struct IncomingCall {
  std::string data;
  std::string from, name, address;  // DID, name and virtual address of the caller
  bool verified = false;            // this agent has itself verified the trust's signatures
  std::string trace, idempotency_key;
  std::string capability, protocol;
  std::uint16_t service = 0;
  std::vector<std::string> scopes;  // 16 hex digits each, as the envelope has them

  // The caller gave up, or the daemon has ended: nobody hears the answer any more.
  std::function<bool()> cancelled;
};

struct Answer {
  Answer() = default;
  Answer(std::string bytes) : data(std::move(bytes)) {}  // NOLINT: an answer is mostly bytes
  Answer(const char* text) : data(text) {}               // NOLINT
  Answer(std::string bytes, std::uint16_t ends_with) : data(std::move(bytes)), status(ends_with) {}
  std::string data;
  std::uint16_t status = 0;  // 0: success; 1 to 255 as a program's exit status
};

struct Peer {
  std::string did, name, address;
  std::string right;   // may_send, may_open, reply_only
  std::string state;   // ok, refused
  std::string reason;  // where it is refused
  bool verified = false;
  std::optional<std::chrono::system_clock::time_point> expires;
};

struct Info {
  std::string did, name, address, version, relay;
  unsigned tenant = 0;
  bool connected = false;
  std::size_t max_message = 0;  // of send(), in bytes; 0: not connected yet
};

struct Message {
  std::string from, name, data;
};

struct TrustOptions {
  std::optional<std::chrono::seconds> life;
  std::string right = "may_send", offer = "may_send";  // may_send, may_open, reply_only
  std::vector<std::string> scopes, protocols, capabilities;
};

struct TrustRequest {
  std::string request;  // its digest; approve() and reject() take it as well
  std::string did, name, justification;
};

class SLUICE_EXPORT Agent {
 public:
  // `state`: the daemon's folder; by default $XDG_STATE_HOME/sluice-agent or
  // ~/.local/state/sluice-agent. Nothing is asked of the daemon yet.
  explicit Agent(std::string state = {});
  ~Agent();
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  // Throws CallFailed, or Error where there was no call at all (no such peer, no daemon).
  CallResult call(std::string_view peer, std::string_view request, const CallOptions& options = {});

  Info info();
  std::vector<Peer> peers();

  // Datagrams: unacknowledged, each of at most Info::max_message bytes. Returns when they have
  // left.
  void send(std::string_view peer, const std::vector<std::string>& messages);
  // Up to `most` (4,096 at a time) that have come, of one peer or of all; waits for the first, up
  // to 60 s. May be empty.
  std::vector<Message> receive(Milliseconds wait, std::size_t most = 256,
                               std::string_view peer = {});

  // Trust: what sluice-agent handshake, pending, approve, reject and untrust do. True: agreed;
  // false: the peer has to approve.
  bool request_trust(std::string_view peer, std::string_view justification,
                     const TrustOptions& options = {});
  std::vector<TrustRequest> pending();
  void approve(std::string_view who);
  void reject(std::string_view who, std::string_view reason = {});
  void untrust(std::string_view peer, std::string_view reason = {});

 private:
  friend class Server;
  class Impl;
  std::unique_ptr<Impl> impl_;
};

struct ServerOptions {
  unsigned parallel = 16;  // calls at a time, each in a thread of its own; 1 to 256
  // The daemon has ended (the server waits for it and goes on), is there again, refuses. In a
  // thread of the server's; what they throw is dropped.
  std::function<void(const Error& why)> on_away;
  std::function<void()> on_back;
};

// Answers calls of peers for as long as it lives. What a handler throws ends its call with status
// 1 and no other word of it; so does a status above 255. An answer of more than kMostBytes ends it
// with status 514.
class SLUICE_EXPORT Server {
 public:
  using Handler = std::function<Answer(const IncomingCall& call)>;

  // Returns when calls are taken. Throws where the daemon does not run or refuses.
  Server(Agent& agent, Handler handler, ServerOptions options = {});
  // As stop(). Not from a handler or hook of its own.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes no more calls, and returns when those that it has are answered. From a handler or a hook
  // it returns at once, and the end goes on by itself.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::client
