// One call as one side of it sees it (docs/protocol.md §7): from CALL_OPEN to the last CALL_CLOSE,
// repeated until answered, verified, bounded in time. No I/O and no clock; what leaves goes through
// the hooks, and only in start(), tick(), pump() and end(). One thread, owned by a Calls.
//
// The caller sends its request when the callee has accepted, the callee's program gets it whole,
// and the response comes back the same way. What ends a stream stands inside the end-to-end seal;
// CALL_CLOSE only frees what relay and peer keep, and can at most break a call off.
#pragma once

#include <functional>
#include <optional>

#include "agent/backoff.h"
#include "agent/call_end.h"
#include "agent/call_stream.h"
#include "agent/peer_session.h"
#include "wire/call.h"

namespace sluice::agent {

enum class CallPhase : uint8_t {
  kOpening,           // caller: no answer yet
  kAwaitingApproval,  // caller: parked at the relay
  kOpen,              // accepted; the request is under way, the caller waits for its response
  kServing,           // callee: a program has the request
  kAnswering,         // callee: the response is under way
  kEnded,
};
const char* to_string(CallPhase phase);

class Call;

struct CallHooks {
  // To the peer, over the edge to it; without its label.
  std::function<void(const crypto::PublicKey& peer, const wire::FrameHeader&, Bytes extension)>
      frame;
  // Whether there are end-to-end keys to send on; where not, they are asked for.
  std::function<bool(const crypto::PublicKey& peer)> ready;
  // In CALL_DATA, sealed end to end; lost where there are no keys.
  std::function<void(const crypto::PublicKey& peer, const Carrier&, MessageKind, Bytes body)> data;
  std::function<uint64_t(const crypto::PublicKey& peer)> failed_handshakes;  // so far
  std::function<bool()> room;  // for another datagram before the kernel
  // Of the callee. Whether somebody would take it; the request is whole; it is over before it was
  // answered. `request` may call answer() later, not at once.
  std::function<AcceptStatus(const crypto::PublicKey& peer, const wire::Envelope&)> admit;
  std::function<void(Call&)> request;
  std::function<void(const Call&)> cancelled;
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
  static constexpr uint64_t kRememberedMs = 30'000;

  // The caller's. `envelope` is signed; `stream` begins with the commitment's key.
  Call(const CallHooks& hooks, const crypto::PublicKey& peer, const wire::Envelope& envelope,
       CallSender stream, uint64_t timeout_ms, uint64_t random, Now now);
  // The callee's, with its answer to the envelope.
  Call(const CallHooks& hooks, const crypto::PublicKey& peer, const wire::Envelope& envelope,
       const wire::CallAccept& accept, Now now);
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  void start(Now now);
  // Frames of this call; what does not belong here changes nothing.
  void on_open_again(Now now);
  bool on_accept(const wire::CallAccept& accept, Now now);  // false: it does not hold
  bool on_deny(const wire::CallDeny& deny, Now now);
  void on_close(const wire::CallClose& close, Now now);
  bool on_message(MessageKind kind, Bytes body, bool room_for_more, Now now);
  // CALL_DATA came that is not for the stream: it shows that the peer is there.
  void heard(Now now);

  void tick(Now now);
  void pump(Now now);
  uint64_t deadline() const;
  // The callee's program has spoken; false: too late.
  bool answer(uint16_t status, Buffer response, Now now);
  // Ends it for a reason of this side; the other is told.
  void end(CallEnd why, uint16_t status, Now now);
  bool forgettable(Now now) const {
    return phase_ == CallPhase::kEnded && now.mono_ms >= forget_ms_;
  }

  bool is_caller() const { return caller_; }
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
  uint64_t bytes_sent() const { return bytes_sent_; }
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t segments_again() const { return sender_ ? sender_->sent_again() : segments_again_; }
  size_t held() const;
  // The request at the callee, the response at the caller; once.
  Buffer take_result() { return std::move(result_); }

 private:
  void send_frame(wire::FrameType type, Bytes extension);
  void send_open(Now now);
  void send_accept();
  void send_close();
  void send_data(MessageKind kind, Bytes body);
  void finish(CallEnd why, uint16_t status, Now now);
  void on_whole(Now now);

  const CallHooks& hooks_;
  crypto::PublicKey peer_;
  wire::Envelope envelope_;
  wire::CallAccept accept_{};  // the callee's own
  bool caller_;
  CallPhase phase_;
  std::optional<CallSender> sender_;
  CallReceiver receiver_;
  Buffer result_;

  CallEnd end_ = CallEnd::kNone;
  wire::CallReason denied_ = wire::CallReason::kAuthorized;
  uint32_t retry_after_ms_ = 0;
  uint16_t status_ = 0;
  uint16_t close_status_ = 0;
  CallTimes times_;
  uint64_t bytes_sent_ = 0, bytes_received_ = 0, segments_again_ = 0;

  uint64_t until_ms_ = kNever;       // of the whole call
  uint64_t open_until_ms_ = kNever;  // the envelope's life
  uint64_t next_open_ms_ = kNever;
  Backoff backoff_{kFirstOpenAgainMs, kOpenAgainMs};
  uint64_t random_ = 0;  // for jitter
  uint64_t heard_ms_ = 0;
  uint64_t next_probe_ms_ = kNever;
  uint64_t failures_before_ = 0;
  bool commitment_checked_ = false;
  unsigned accepts_left_ = 8;
  unsigned closes_left_ = 8;
  uint64_t next_close_ms_ = 0;
  uint64_t forget_ms_ = 0;
};

// What the commitment covers: the first segment's plaintext, its kind included.
ByteArray<16> commitment_of(Bytes key, Bytes first_segment);

}  // namespace sluice::agent
