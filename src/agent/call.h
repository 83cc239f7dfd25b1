// One call as one side of it sees it (docs/protocol.md §7): from CALL_OPEN to the last CALL_CLOSE,
// repeated until answered, verified, bounded in time, with a stream of bytes each way. No I/O and
// no clock; what leaves goes through the hooks. One thread, owned by a Calls.
//
// What ends a stream stands inside the end-to-end seal; CALL_CLOSE only frees what relay and peer
// keep, and can at most break a call off.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>

#include "agent/backoff.h"
#include "agent/call_end.h"
#include "agent/call_user.h"
#include "agent/peer_session.h"
#include "agent/stream/call_streams.h"
#include "agent/stream/pipe.h"
#include "agent/whole_message.h"
#include "crypto/secret_buffer.h"
#include "wire/call.h"

namespace sluice::agent {

enum class CallPhase : uint8_t {
  kOpening,           // caller: no answer yet
  kAwaitingApproval,  // caller: parked at the relay
  kOpen,              // accepted; the request is under way, the caller waits for its response
  kServing,           // callee: its user has the whole request
  kAnswering,         // callee: all of the response is on its way
  kEnded,
};
const char* to_string(CallPhase phase);

class Call;

struct CallHooks {
  // To the peer, over the edge to it; without its label.
  std::function<void(const crypto::PublicKey& peer, const wire::FrameHeader&, Bytes extension)>
      frame;
  // Whether there are end-to-end keys to send on; where not, they are asked for if a call is open
  // that can carry the handshake.
  std::function<bool(const crypto::PublicKey& peer, bool ask)> ready;
  // In CALL_DATA, sealed end to end; lost where there are no keys.
  std::function<void(const crypto::PublicKey& peer, const Carrier&, MessageKind, Bytes body)> data;
  std::function<uint64_t(const crypto::PublicKey& peer)> failed_handshakes;  // so far
  std::function<bool()> room;  // for another datagram before the kernel
  // The largest body of `data` that one datagram carries.
  std::function<size_t()> packet_size;
  std::function<Now()> now;  // of the event that is being served, in relay time
  // Of the callee. Whether somebody would take it; who (null: a WholeMessage collects it for
  // `request`); the request is whole; it is over before it was answered.
  std::function<AcceptStatus(const crypto::PublicKey& peer, const wire::Envelope&)> admit;
  std::function<CallUser*(Call&)> user;
  std::function<void(Call&)> request;
  std::function<void(const Call&)> cancelled;
};

// What its Calls does for a call.
class CallOwner {
 public:
  virtual ~CallOwner() = default;
  virtual const CallHooks& hooks() const = 0;
  virtual void changed(Call& call) = 0;  // its deadline
  virtual void ready(Call& call) = 0;    // it has something to say on its stream
  virtual void notify(Call& call) = 0;   // its user has something to hear
  virtual void opened(Call& call) = 0;   // it carries packets from now on
  virtual void ended(Call& call) = 0;
  virtual void holds(ptrdiff_t bytes) = 0;  // more than before
  virtual bool may_hold() const = 0;
  virtual bool may_go_early() const = 0;
  virtual void opening(ptrdiff_t more) = 0;  // own calls that are not decided
};

struct CallTimes {  // mono_ms; 0: not yet
  uint64_t opened = 0, accepted = 0, sent = 0, ended = 0;
};

class Call {
 public:
  static constexpr uint64_t kFirstOpenAgainMs = 300;
  static constexpr uint64_t kOpenAgainMs = 5'000;
  static constexpr uint64_t kProbeAfterMs = 5'000;
  static constexpr uint64_t kProbeEveryMs = 2'000;
  static constexpr uint64_t kSilenceMs = 20'000;
  static constexpr uint64_t kCalleeSilenceMs = 30'000;
  static constexpr uint64_t kLingerMs = 5'000;    // after its end, for frames that come late
  static constexpr uint64_t kRefusedMs = 30'000;  // longer: its caller may not have heard

  // The caller's. `envelope` is signed; `first` is the message that it commits to.
  Call(CallOwner& owner, const crypto::PublicKey& peer, const wire::Envelope& envelope,
       Buffer first, uint64_t timeout_ms, uint64_t random, Now now);
  // The callee's, with its answer to the envelope.
  Call(CallOwner& owner, const crypto::PublicKey& peer, const wire::Envelope& envelope,
       const wire::CallAccept& accept, Now now);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void start(Now now);
  // Frames of this call; what does not belong here changes nothing.
  void on_open_again(Now now);
  // Whether its signature is worth a look; and what follows once it was found to hold.
  bool awaits(const wire::CallAccept& accept) const;
  void on_accept(const wire::CallAccept& accept, Now now);
  bool on_deny(const wire::CallDeny& deny, Now now);
  void on_close(const wire::CallClose& close, Now now);
  // CALL_DATA came in it: the peer is there, and may ask whether this side is.
  void on_keep(Bytes body, Now now);
  void heard(Now now);
  // A message of its stream; `bytes` is all of it.
  void on_stream(const wire::StreamMessage& message, Bytes bytes, Now now);
  // The peer knows nothing of the stream that this side had begun. False: too much of it is gone.
  bool begin_again();
  // The streams that it had begun are gone.
  void on_lost(Now now);

  void tick(Now now);
  uint64_t deadline() const;
  // Tells the user what there is to tell.
  void tell(Now now);

  // Of its user. Bytes taken of `bytes`; on_room() follows where it was not all of them.
  size_t write(Bytes bytes);
  void end_writing(uint16_t status);
  bool may_write() const { return live() && !out_.end; }
  // What came and was not consumed; a part of it where it is not in one piece.
  Bytes readable() const { return in_.bytes.front(); }
  void consume(size_t n);
  bool read_all() const { return in_.end && in_.bytes.empty(); }
  std::optional<uint16_t> read_status() const { return in_.end; }
  // Ends it for a reason of this side; the other is told.
  void end(CallEnd why, uint16_t status);
  // The user is gone; the call ends.
  void leave();
  // In place of a user, before anything else: a WholeMessage. The caller's sends what is left of
  // the request, the callee's hands the request to CallHooks::request.
  void send_whole(Buffer message);
  void collect();
  // The callee's program has spoken; false: too late.
  bool answer(uint16_t status, Buffer response);

  void set_user(CallUser* user) { user_ = user; }
  // Of the callee: what the relay gave it for this call alone, as wire/credential.h has it; null:
  // the relay gave none. Set before the user hears of the call.
  std::shared_ptr<const crypto::SecretBuffer> credential() const { return credential_; }
  void set_credential(std::shared_ptr<const crypto::SecretBuffer> credential) {
    credential_ = std::move(credential);
  }
  bool forgettable(Now now) const {
    return phase_ == CallPhase::kEnded && now.mono_ms >= forget_ms_;
  }

  bool is_caller() const { return caller_; }
  CallName name() const { return {id(), caller_}; }
  const crypto::PublicKey& peer() const { return peer_; }
  const wire::Envelope& envelope() const { return envelope_; }
  uint64_t id() const { return envelope_.counter; }
  CallPhase phase() const { return phase_; }
  bool live() const { return phase_ != CallPhase::kEnded; }
  bool carries_data() const { return live() && times_.accepted != 0; }
  Carrier carrier() const { return Carrier::call(id(), caller_ ? 0 : wire::kFlagReply); }
  CallEnd ended_as() const { return end_; }
  wire::CallReason denied_as() const { return denied_; }
  uint32_t retry_after_ms() const { return retry_after_ms_; }
  uint16_t status() const { return status_; }
  const CallTimes& times() const { return times_; }
  uint64_t bytes_sent() const { return out_.sent; }
  uint64_t bytes_received() const { return in_.received; }
  // The request at the callee, the response at the caller; once.
  Buffer take_result();

  // Of its CallStreams.
  PipeOut& out() { return out_; }
  PipeIn& in() { return in_; }
  // The relay has not decided: the first message may go all the same.
  bool may_send_early() const {
    return caller_ && phase_ == CallPhase::kOpening && owner_.may_go_early();
  }
  bool has_to_say() const;
  void said_all() { queued_ = false; }
  void note_sent(Now now);

  std::optional<std::multimap<uint64_t, Call*>::iterator> timer;  // its owner's
  bool told = false;  // its owner has noted that there is something to tell

 private:
  void send_frame(wire::FrameType type, Bytes extension);
  void send_open(Now now);
  void send_accept();
  void send_close();
  void keep(bool probe);
  void finish(CallEnd why, uint16_t status, Now now);
  void set_phase(CallPhase phase);
  void get_ready();
  void maybe_done(Now now);

  CallOwner& owner_;
  crypto::PublicKey peer_;
  wire::Envelope envelope_;
  wire::CallAccept accept_{};  // the callee's own
  bool caller_;
  CallPhase phase_;
  PipeOut out_;
  PipeIn in_;
  CallUser* user_ = nullptr;
  std::shared_ptr<const crypto::SecretBuffer> credential_;
  std::unique_ptr<WholeMessage> whole_;
  size_t held_ = 0;  // as the owner knows it
  bool queued_ = false;
  bool tell_bytes_ = false, tell_room_ = false, tell_end_ = false;

  CallEnd end_ = CallEnd::kNone;
  wire::CallReason denied_ = wire::CallReason::kAuthorized;
  uint32_t retry_after_ms_ = 0;
  uint16_t status_ = 0;
  uint16_t close_status_ = 0;
  CallTimes times_;

  uint64_t until_ms_ = kNever;       // of the whole call
  uint64_t open_until_ms_ = kNever;  // the envelope's life
  uint64_t next_open_ms_ = kNever;
  Backoff backoff_{kFirstOpenAgainMs, kOpenAgainMs};
  uint64_t random_ = 0;  // for jitter
  uint64_t heard_ms_ = 0;
  uint64_t next_probe_ms_ = kNever;
  uint64_t failures_before_ = 0;
  unsigned accepts_left_ = 8;
  unsigned closes_left_ = 8;
  uint64_t next_close_ms_ = 0;
  uint64_t forget_ms_ = 0;
};

// What the envelope commits to: the caller's first message, under the key in it.
ByteArray<16> commitment_of(Bytes key, Bytes first_message);

}  // namespace sluice::agent
