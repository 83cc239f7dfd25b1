// All calls of the agent, its own and those of its peers (docs/protocol.md §7): makes and checks
// envelopes, finds the call that a frame belongs to, and keeps what has ended for as long as its
// envelope could come again. No I/O and no clock; times are the relay's. One thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "agent/call.h"
#include "agent/edges.h"

namespace sluice::agent {

struct CallRequest {
  wire::Capability capability = wire::Capability::kToolCall;
  wire::CallProtocol protocol = wire::CallProtocol::kRaw;
  uint16_t service = 0;
  std::vector<std::string> scopes;
  std::optional<ByteArray<16>> trace, idempotency;  // drawn at random where not given
  uint64_t timeout_ms = 30'000;                     // of the whole call
  Buffer data;
};

// What is left of a call when it is forgotten, and how a running one is shown.
struct CallRow {
  crypto::PublicKey peer{};
  wire::Envelope envelope{};
  bool is_caller = false;
  CallPhase phase = CallPhase::kEnded;
  CallEnd end = CallEnd::kNone;
  wire::CallReason denied = wire::CallReason::kAuthorized;
  uint16_t status = 0;
  uint64_t bytes_sent = 0, bytes_received = 0, segments_again = 0;
  CallTimes times;
};
CallRow row_of(const Call& call);

struct CallCounters {
  uint64_t opened = 0, served = 0, denied = 0;
  uint64_t dropped_open = 0;    // an envelope that does not hold
  uint64_t dropped_accept = 0;  // an acceptance that does not hold
  uint64_t dropped_frame = 0;   // of no call, or not of its form
};

class Calls {
 public:
  static constexpr size_t kMostLive = 256;         // of each side
  static constexpr size_t kMostKept = 4'096;       // with those that have ended
  static constexpr size_t kMostHeld = 256u << 20;  // bytes of requests and responses
  static constexpr size_t kRecent = 100;           // rows of what was forgotten
  static constexpr uint64_t kLongestEnvelopeMs = 300'000;
  static constexpr uint64_t kSkewMs = 30'000;

  Calls(const crypto::Identity* identity, CallHooks hooks, std::function<uint64_t()> random);

  // A session with the relay began. Calls do not outlive the relay that knows them.
  void connected(uint64_t epoch, VirtualAddress own, Now now);
  // The edge to the peer, or its keys, are others now.
  void edge_ended(const crypto::PublicKey& peer, Now now);

  // kRefused (the edge allows none), kTooLarge, kUsage (scopes), kResource (too many).
  Result<uint64_t> open(const PeerEdge& peer, CallRequest request, Now now);
  Call* mine(uint64_t id);
  Call* from(const crypto::PublicKey& peer, uint64_t id);

  // CALL_OPEN, ACCEPT, DENY and CLOSE over the edge to `peer`.
  void receive(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension, Now now);
  // Whether CALL_DATA belongs to a call. If not, the peer is told.
  bool expects(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now);
  void on_message(const crypto::PublicKey& peer, const Carrier& carrier, MessageKind kind,
                  Bytes body, Now now);
  // A call that can carry the peer session's own messages; the one that `came_by` names if it can.
  std::optional<Carrier> carrier_to(const crypto::PublicKey& peer, const Carrier* came_by) const;

  void tick(Now now);
  void pump(Now now);
  uint64_t deadline() const;

  std::vector<CallRow> rows() const;  // newest first
  const CallCounters& counters() const { return counters_; }

 private:
  using Key = std::tuple<crypto::PublicKey, uint64_t, bool>;  // peer, id, it is this agent's own
  Call* find(const crypto::PublicKey& peer, uint64_t id, bool own);
  void on_open(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension, Now now);
  AcceptStatus judge(const PeerEdge& peer, const wire::Envelope& e, Now now) const;
  void say_unknown(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now);
  size_t live(bool own) const;
  size_t held() const;

  const crypto::Identity* identity_;
  CallHooks hooks_;
  std::function<uint64_t()> random_;
  std::map<Key, std::unique_ptr<Call>> calls_;
  std::map<uint64_t, crypto::PublicKey> own_;  // whom the agent's own calls are to
  std::deque<CallRow> recent_;
  CallCounters counters_;
  std::optional<uint64_t> epoch_;
  VirtualAddress address_;
  uint64_t next_id_ = 0;
  uint64_t unknown_said_ms_ = 0;
  unsigned unknown_said_ = 0;
};

}  // namespace sluice::agent
