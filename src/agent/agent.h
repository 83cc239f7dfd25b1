// The whole agent without I/O: the tunnel, the relay's control messages, an end-to-end session per
// peer, and calls. Datagrams and time go in, datagrams and messages come out through the hooks. One
// thread; hooks must not call back in, except `message` and `pong`, which may send.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/calls.h"
#include "agent/control_channel.h"
#include "agent/peer_session.h"
#include "agent/trust_desk.h"
#include "agent/tunnel.h"
#include "crypto/key_log.h"

namespace sluice::agent {

struct AgentConfig {
  const crypto::Identity* identity = nullptr;  // these three outlive the agent
  const crypto::X25519KeyPair* e2e_key = nullptr;
  Pins* pins = nullptr;
  ByteArray<32> relay_key{};  // of the join string; a pinned one goes before it
  ByteArray<32> relay_id{};
  Bytes token;             // likewise; may be empty
  std::string name;        // what peers may call this agent
  std::string relay_name;  // HOST:PORT
  std::function<uint64_t()> random = crypto::random_u64;
};

struct AgentHooks {
  std::function<void(Bytes datagram)> send;
  std::function<void(const PeerEdge& from, Bytes data)> message;
  std::function<void(const crypto::PublicKey& from, uint64_t id)> pong;
  Report report;
  std::function<bool()> room = [] { return true; };  // for another datagram before the kernel
  // Who serves calls on this host (CallHooks); nobody does where they are not set.
  std::function<AcceptStatus(const PeerEdge& from, const wire::Envelope&)> admit_call = {};
  std::function<void(Call&)> call_request = {};
  std::function<void(const Call&)> call_cancelled = {};
  std::function<CallUser*(Call&)> call_user = {};
  // Every session's keys, for the key log alone.
  std::function<void(const crypto::KeyLogEntry&)> keys = {};
  // An IP packet of a peer's TUN device; not set: there is none here.
  std::function<void(const PeerEdge& from, Bytes packet)> ip = {};
};

struct AgentCounters {
  uint64_t messages_sent = 0, messages_received = 0;
  uint64_t dropped_label = 0;    // a frame over an edge that we do not know or do not use
  uint64_t dropped_ip = 0;       // an IP packet of a peer's, and no TUN device
  uint64_t dropped_offline = 0;  // an end-to-end message while there was no tunnel
};

class Agent {
 public:
  Agent(AgentConfig config, AgentHooks hooks);
  Agent(const Agent&) = delete;
  Agent& operator=(const Agent&) = delete;

  void start(Now now);
  void receive(MutBytes datagram, Now now);
  void tick(Now now);
  uint64_t deadline(Now now) const;
  void path_changed(Now now);
  // config's identity is another one from now on.
  void identity_changed(Bytes token, Now now);
  void set_ipv6(bool v6) { ipv6_ = v6; }

  // By DID, virtual address or name. kNotFound, kConflict (two of that name), kRefused (an edge
  // that is not used, with the reason), kUnreachable (no list of edges yet).
  Result<crypto::PublicKey> find(std::string_view peer, Now now) const;
  // The edge itself, used or not.
  Result<const PeerEdge*> find_edge(std::string_view peer, Now now) const;

  // kTooLarge and the errors of find() are final; kFull means: once more a little later.
  Result<PeerSession::Sent> send(const crypto::PublicKey& peer, MessageKind kind, Bytes body,
                                 Now now);
  // Largest message that fits the path to the relay in one datagram; 0 before the first session.
  size_t max_message() const;

  const Tunnel& tunnel() const { return tunnel_; }
  std::optional<uint64_t> probe(Now now) {
    now_ = now;
    return tunnel_.probe(now);
  }
  // The tunnel key that the next HELLO is for.
  const ByteArray<32>& relay_key() const {
    return config_.pins->relay_key ? config_.pins->relay_key->key : config_.relay_key;
  }
  const ControlChannel& control() const { return control_; }
  const AgentCounters& counters() const { return counters_; }
  const std::vector<Revocation>& revocations() const { return revocations_; }
  std::vector<const PeerEdge*> edges() const;
  // Of the peer, used or not; null: there is none.
  const PeerEdge* edge(const crypto::PublicKey& peer) const;

  // The id of a new call. kUnreachable, kNotFound, and the errors of Calls::open().
  Result<uint64_t> call(const crypto::PublicKey& peer, CallRequest request, Now now);
  Call* own_call(uint64_t id) { return calls_.mine(id); }
  Call* peer_call(const crypto::PublicKey& peer, uint64_t id) { return calls_.from(peer, id); }
  const Calls& calls() const { return calls_; }
  // Lets calls go on; after each batch of datagrams, and whenever there may be room again.
  void pump(Now now);
  TrustDesk& trust(Now now) {
    now_ = now;
    return trust_;
  }
  const TrustDesk& trust() const { return trust_; }
  // What trust statements are dated by.
  Now relay_now(Now now) const { return peer_time(now); }
  // The time, before something outside of an event asks for anything.
  void touch(Now now) { now_ = now; }
  Now last_now() const { return now_; }  // of the event that is being served
  const PeerSession* session(const crypto::PublicKey& peer) const;

 private:
  struct Peer {
    PeerEdge edge;
    bool labelled = false;  // false after a new relay epoch, until the next list of edges
    std::unique_ptr<PeerSession> session;
  };

  void on_frame(const wire::FrameHeader& frame, MutBytes payload, Now now);
  void on_edges(std::vector<PeerEdge> edges);
  void on_revoked(const Revocation& revocation);
  void forget_labels();
  void note_relay_key();
  void make_session(Peer& peer);
  CallHooks call_hooks();
  void log_keys(const wire::WelcomePayload& welcome, const SessionKeys& keys, Now now);
  void log_keys(const crypto::NoiseKeys& keys, uint32_t initiator, uint32_t responder, Now now);
  Carrier route(const Peer& peer, const Carrier* came_by) const;
  Result<Peer*> reachable(const crypto::PublicKey& identity, Now now);
  Now peer_time(Now now) const { return {now.mono_ms, tunnel_.relay_time(now)}; }

  AgentConfig config_;
  AgentHooks hooks_;
  AgentCounters counters_;
  crypto::X25519KeyPair tunnel_key_;  // a new one at every start
  Now now_;                           // of the call that is being served
  Tunnel tunnel_;
  ControlChannel control_;
  TrustDesk trust_;
  std::map<crypto::PublicKey, Peer> peers_;
  std::unordered_map<uint32_t, Peer*> by_label_;
  Calls calls_;
  std::vector<Revocation> revocations_;
  bool ipv6_ = false;
};

}  // namespace sluice::agent
