// All calls of the agent, its own and those of its peers (docs/protocol.md §7): makes and checks
// envelopes, finds the call that a frame belongs to, and has one association per pair for their
// streams. No I/O and no clock; times are the relay's. One thread.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "agent/call.h"
#include "agent/credential_inbox.h"
#include "agent/edges.h"
#include "agent/seen_calls.h"
#include "crypto/ed25519_batch.h"

namespace sluice::agent {

struct CallRequest {
  wire::Capability capability = wire::Capability::kToolCall;
  wire::CallProtocol protocol = wire::CallProtocol::kRaw;
  uint16_t service = 0;
  std::vector<std::string> scopes;
  std::optional<ByteArray<16>> trace, idempotency;  // drawn at random where not given
  uint64_t timeout_ms = 30'000;                     // of the whole call; kNever: none
  uint64_t envelope_ms = 300'000;                   // of the envelope, at most as long
  Buffer data;                                      // without a user all of the request
  // Where it is given: reads, and writes what comes behind `data`. Outlives the call, or leaves it.
  CallUser* user = nullptr;
  bool ended = false;  // with a user: nothing comes behind `data`
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
  uint64_t bytes_sent = 0, bytes_received = 0;
  CallTimes times;
};
CallRow row_of(const Call& call);

struct CallCounters {
  uint64_t opened = 0, served = 0, denied = 0;
  uint64_t dropped_open = 0;        // an envelope that does not hold
  uint64_t without_credential = 0;  // one that came before the credential it needs
  uint64_t dropped_accept = 0;      // an acceptance that does not hold
  uint64_t dropped_frame = 0;       // of no call, or not of its form
};

class Calls final : public CallOwner {
 public:
  static constexpr size_t kMostLive = 32'768;      // of each side
  static constexpr size_t kMostKept = 131'072;     // with those that have ended
  static constexpr size_t kMostHeld = 256u << 20;  // bytes of requests and responses
  static constexpr size_t kRecent = 100;           // rows of what was forgotten
  static constexpr size_t kMostRows = 1'000;
  static constexpr uint64_t kLongestEnvelopeMs = 300'000;
  static constexpr uint64_t kSkewMs = 30'000;
  // Data of an unknown call: its CALL_OPEN may be late, or be said again.
  static constexpr uint64_t kUnknownMs = 1'000;
  // Of the request in the first message, which may leave before the relay has decided.
  static constexpr size_t kFirstData = 3'000;
  // While more calls than these are undecided, requests wait for their decisions: a relay keeps few
  // packets of one agent, and what it drops comes again late.
  static constexpr size_t kMostEarly = 8;

  Calls(const crypto::Identity* identity, CallHooks hooks, std::function<uint64_t()> random);
  ~Calls() override;

  // A session with the relay began. Calls do not outlive the relay that knows them.
  void connected(uint64_t epoch, VirtualAddress own);
  // The edge to the peer, or its keys, are others now.
  void edge_ended(const crypto::PublicKey& peer);

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

  // Looks at the signatures of what came, all at once; pump() does so first.
  void verify(Now now);
  void tick(Now now);
  // Lets streams go on and tells users; after each batch of datagrams.
  void pump(Now now);
  uint64_t deadline() const;

  std::vector<CallRow> rows() const;     // newest first
  uint32_t run() const { return run_; }  // of this daemon
  size_t live() const { return live_[0] + live_[1]; }
  const CallCounters& counters() const { return counters_; }

 private:
  struct Peer {
    std::unordered_map<CallName, std::unique_ptr<Call>, CallNameHash> calls;
    std::unique_ptr<CallStreams> streams;
    std::unique_ptr<crypto::PreparedKey> prepared;
    bool prepare_tried = false;
    SeenCalls seen;
    bool listed = false;  // in busy_
  };

  const CallHooks& hooks() const override { return hooks_; }
  void changed(Call& call) override;
  void ready(Call& call) override;
  void notify(Call& call) override;
  void opened(Call& call) override;
  void ended(Call& call) override;
  void holds(ptrdiff_t bytes) override { held_ += size_t(bytes); }
  bool may_hold() const override { return held_ <= kMostHeld; }
  bool may_go_early() const override { return opening_ <= kMostEarly; }
  void opening(ptrdiff_t more) override { opening_ += size_t(more); }

  Peer& peer_of(const crypto::PublicKey& peer);
  CallStreams& streams_of(const crypto::PublicKey& peer);
  void note_busy(const crypto::PublicKey& peer);
  Call* find(const crypto::PublicKey& peer, const CallName& name);
  Call& add(const crypto::PublicKey& peer, std::unique_ptr<Call> call);
  // An envelope, or an acceptance, whose signature was not looked at.
  struct Unverified {
    PeerEdge peer;
    wire::Envelope envelope;
    std::optional<wire::CallAccept> accept;
    Buffer text;
    crypto::Signature signature;
    bool credentialed = false;
  };
  void on_open(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension, Now now);
  void on_accept(const PeerEdge& peer, Call& call, const wire::CallAccept& accept, Now now);
  void take_open(const PeerEdge& peer, const wire::Envelope& e, bool credentialed, Now now);
  void on_credential(const PeerEdge& peer, const wire::FrameHeader& frame, Bytes extension,
                     Now now);
  void wait_for_verdict(const PeerEdge& peer, const crypto::Label& label, Bytes text,
                        Unverified what, Now now);
  AcceptStatus judge(const PeerEdge& peer, const wire::Envelope& e, Now now) const;
  void say_unknown(const crypto::PublicKey& peer, const wire::FrameHeader& frame, Now now);
  void forget(Call& call);
  void tell(Now now);

  const crypto::Identity* identity_;
  CallHooks hooks_;
  std::function<uint64_t()> random_;
  uint32_t run_;
  size_t held_ = 0;
  size_t opening_ = 0;  // own, not decided
  std::multimap<uint64_t, Call*> timers_;
  std::map<crypto::PublicKey, Peer> peers_;
  std::unordered_map<uint64_t, crypto::PublicKey> own_;  // whom the agent's own calls are to
  std::deque<Call*> told_;                               // have something to hear
  std::deque<crypto::PublicKey> busy_;                   // have something to say
  size_t live_[2] = {};                                  // peers', own
  size_t kept_ = 0;
  std::deque<CallRow> recent_;
  CallCounters counters_;
  std::optional<uint64_t> epoch_;
  VirtualAddress address_;
  uint64_t next_id_ = 0;
  struct Unknown {
    CallName name;
    uint64_t since_ms, last_ms;
  };
  crypto::Ed25519BatchVerifier verifier_;
  std::vector<Unverified> unverified_;
  CredentialInbox credentials_;
  std::deque<Unknown> unknown_;  // calls that data came of
};

}  // namespace sluice::agent
