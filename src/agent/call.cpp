#include "agent/call.h"

#include <algorithm>

#include "crypto/hash.h"

namespace sluice::agent {
namespace {

constexpr uint64_t kCloseEveryMs = 200;

// The callee has said no.
bool accept_refused(CallEnd why) {
  return why == CallEnd::kNotServed || why == CallEnd::kBusy || why == CallEnd::kNotAcceptable;
}
// By this side, with no word of the other.
bool broke_off(CallEnd why) {
  return why != CallEnd::kDone && why != CallEnd::kFailed && why != CallEnd::kPeerClosed;
}

}  // namespace

const char* to_string(CallPhase phase) {
  switch (phase) {
    case CallPhase::kOpening:
      return "opening";
    case CallPhase::kAwaitingApproval:
      return "awaiting_approval";
    case CallPhase::kOpen:
      return "open";
    case CallPhase::kServing:
      return "serving";
    case CallPhase::kAnswering:
      return "answering";
    case CallPhase::kEnded:
      break;
  }
  return "ended";
}

ByteArray<16> commitment_of(Bytes key, Bytes first_segment) {
  const uint8_t kind = uint8_t(MessageKind::kSegment);
  return crypto::blake2b_128(key, {{&kind, 1}, first_segment});
}

Call::Call(const CallHooks& hooks, const crypto::PublicKey& peer, const wire::Envelope& envelope,
           CallSender stream, uint64_t timeout_ms, uint64_t random, Now now)
    : hooks_(hooks),
      peer_(peer),
      envelope_(envelope),
      caller_(true),
      phase_(CallPhase::kOpening),
      sender_(std::move(stream)),
      receiver_(kMostMessage),
      until_ms_(now.mono_ms + timeout_ms),
      random_(random) {
  times_.opened = heard_ms_ = now.mono_ms;
  open_until_ms_ =
      now.mono_ms + (envelope.expires_ms > now.unix_ms ? envelope.expires_ms - now.unix_ms : 0);
  bytes_sent_ = sender_->size() - kCommitmentKey;
  commitment_checked_ = true;  // responses have none
  failures_before_ = hooks_.failed_handshakes(peer_);
}

Call::Call(const CallHooks& hooks, const crypto::PublicKey& peer, const wire::Envelope& envelope,
           const wire::CallAccept& accept, Now now)
    : hooks_(hooks),
      peer_(peer),
      envelope_(envelope),
      accept_(accept),
      caller_(false),
      phase_(CallPhase::kOpen),
      receiver_(kMostStream) {
  times_.opened = heard_ms_ = now.mono_ms;
  failures_before_ = hooks_.failed_handshakes(peer_);
  commitment_checked_ = all_zero(envelope.commitment);
  // As long as its envelope could come again.
  const uint64_t left = envelope.expires_ms > now.unix_ms ? envelope.expires_ms - now.unix_ms : 0;
  forget_ms_ = now.mono_ms + left + kRememberedMs;
  if (accept.status == 0) {
    times_.accepted = now.mono_ms;
    return;
  }
  phase_ = CallPhase::kEnded;
  end_ = static_cast<AcceptStatus>(accept.status) == AcceptStatus::kBusy ? CallEnd::kBusy
                                                                         : CallEnd::kNotServed;
  times_.ended = now.mono_ms;
}

size_t Call::held() const {
  return receiver_.held() + result_.size() + (sender_ ? sender_->size() : 0);
}

// --- What leaves -------------------------------------------------------------------------------

void Call::send_frame(wire::FrameType type, Bytes extension) {
  hooks_.frame(peer_,
               {uint8_t(type), uint8_t(caller_ ? 0 : wire::kFlagReply),
                static_cast<uint16_t>(extension.size()), 0, id()},
               extension);
}

void Call::send_open(Now now) {
  next_open_ms_ = phase_ == CallPhase::kAwaitingApproval ? now.mono_ms + kOpenAgainMs
                                                         : now.mono_ms + backoff_.next(random_);
  random_ = random_ >> 1 | random_ << 63;
  send_frame(wire::FrameType::kCallOpen, bytes_of(envelope_));
}

void Call::send_accept() {
  send_frame(wire::FrameType::kCallAccept, bytes_of(accept_));
}

void Call::send_close() {
  if (closes_left_ == 0) return;
  --closes_left_;
  const wire::CallClose close{close_status_, {}, bytes_sent_};
  send_frame(wire::FrameType::kCallClose, bytes_of(close));
}

void Call::send_data(MessageKind kind, Bytes body) {
  hooks_.data(peer_, carrier(), kind, body);
}

void Call::start(Now now) {
  if (caller_) return send_open(now);
  send_accept();
}

// --- What arrives ------------------------------------------------------------------------------

void Call::heard(Now now) {
  heard_ms_ = now.mono_ms;
  next_probe_ms_ = now.mono_ms + kProbeAfterMs;
}

void Call::on_open_again(Now now) {
  if (caller_ || accepts_left_ == 0) return;
  --accepts_left_;
  heard(now);
  send_accept();
}

bool Call::on_accept(const wire::CallAccept& accept, Now now) {
  const bool known = accept.epoch == envelope_.epoch && accept.counter == envelope_.counter &&
                     all_zero(accept.zero);
  if (!caller_ || !known) return false;
  if (!live() && end_ != CallEnd::kDone) send_close();  // it came too late
  if (phase_ != CallPhase::kOpening && phase_ != CallPhase::kAwaitingApproval) return true;
  ByteArray<wire::kAcceptSigned> text;
  wire::write_accept_signed(envelope_, accept, text);
  if (!crypto::verify(peer_, crypto::kLabelAccept, {text}, take<64>(accept.signature))) {
    return false;
  }
  if (accept.status == 0) {
    phase_ = CallPhase::kOpen;
    times_.accepted = now.mono_ms;
    failures_before_ = hooks_.failed_handshakes(peer_);
    heard(now);
    return true;
  }
  switch (static_cast<AcceptStatus>(accept.status)) {
    case AcceptStatus::kNotServed:
      finish(CallEnd::kNotServed, accept.status, now);
      break;
    case AcceptStatus::kBusy:
      finish(CallEnd::kBusy, accept.status, now);
      break;
    default:
      finish(CallEnd::kNotAcceptable, accept.status, now);
  }
  return true;
}

bool Call::on_deny(const wire::CallDeny& deny, Now now) {
  if (!caller_ || deny.epoch != envelope_.epoch || deny.counter != envelope_.counter ||
      deny.reason == 0 || deny.reason >= wire::kCallReasons) {
    return false;
  }
  // Only of a call that nobody has taken; the other side's signature outweighs the relay's word.
  if (phase_ != CallPhase::kOpening && phase_ != CallPhase::kAwaitingApproval) return true;
  const auto reason = static_cast<wire::CallReason>(deny.reason);
  if (reason == wire::CallReason::kApprovalRequired) {
    phase_ = CallPhase::kAwaitingApproval;
    next_open_ms_ = now.mono_ms + kOpenAgainMs;
    return true;
  }
  denied_ = reason;
  retry_after_ms_ = deny.retry_after_ms;
  end_ = CallEnd::kDenied;
  closes_left_ = 0;  // there is nothing to close
  finish(CallEnd::kDenied, 0, now);
  return true;
}

void Call::on_close(const wire::CallClose& close, Now now) {
  if (caller_) {
    if (!live()) return;
    // It comes after the whole response, or instead of it.
    return finish(CallEnd::kPeerClosed, close.status, now);
  }
  if (live()) {
    const bool answered = phase_ == CallPhase::kAnswering && close.status == 0;
    const CallEnd done = status_ == 0 ? CallEnd::kDone : CallEnd::kFailed;
    return finish(answered ? done : CallEnd::kCancelled,
                  answered ? status_ : uint16_t(CallStatus::kCancelled), now);
  }
  send_close();  // ours was lost, or none was due
}

bool Call::on_message(MessageKind kind, Bytes body, bool room_for_more, Now now) {
  if (!live()) {
    // The other side does not know yet that it is over.
    if (times_.accepted != 0 && now.mono_ms >= next_close_ms_) {
      next_close_ms_ = now.mono_ms + kCloseEveryMs;
      send_close();
    }
    return true;
  }
  if (times_.accepted == 0) return false;
  if (kind == MessageKind::kAck) {
    if (body.size() < sizeof(AckHeader)) return false;
    const auto header = load_le<AckHeader>(body.data());
    if (header.probe == 1) receiver_.ask_for_ack();
    if (sender_ && !sender_->on_ack(body, now)) return false;
    if (caller_ && sender_ && sender_->done() && times_.sent == 0) times_.sent = now.mono_ms;
    heard(now);
    return true;
  }
  heard(now);
  if (!room_for_more) return true;  // it comes again
  const bool first = !commitment_checked_ &&
                     body.size() >= sizeof(SegmentHeader) + kCommitmentKey &&
                     load_le<SegmentHeader>(body.data()).offset == 0;
  if (first) {
    const Bytes key = body.subspan(sizeof(SegmentHeader), kCommitmentKey);
    if (commitment_of(key, body) != take<16>(envelope_.commitment)) {
      finish(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream), now);
      return false;
    }
    commitment_checked_ = true;
  }
  if (!receiver_.on_segment(body)) {
    finish(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream), now);
    return false;
  }
  const bool whole = receiver_.complete() && (caller_ || phase_ == CallPhase::kOpen);
  if (whole) on_whole(now);
  return true;
}

void Call::on_whole(Now now) {
  result_ = receiver_.take();
  if (caller_) {
    bytes_received_ = result_.size();
    const uint16_t status = receiver_.status();
    return finish(status == 0 ? CallEnd::kDone : CallEnd::kFailed, status, now);
  }
  if (result_.size() < kCommitmentKey || !commitment_checked_ || receiver_.status() != 0) {
    result_.clear();
    return finish(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream), now);
  }
  result_.erase(result_.begin(), result_.begin() + kCommitmentKey);
  bytes_received_ = result_.size();
  times_.sent = now.mono_ms;
  phase_ = CallPhase::kServing;
  hooks_.request(*this);
}

bool Call::answer(uint16_t status, Buffer response, Now now) {
  if (caller_ || phase_ != CallPhase::kServing) return false;
  phase_ = CallPhase::kAnswering;
  status_ = status;
  bytes_sent_ = response.size();
  sender_.emplace(std::move(response), status);
  pump(now);
  return true;
}

// --- Time --------------------------------------------------------------------------------------

void Call::pump(Now now) {
  if (!carries_data()) return;
  const bool to_say = receiver_.ack_due() || (sender_ && !sender_->done());
  if (to_say && !hooks_.ready(peer_)) return;
  Buffer body;
  while (sender_ && hooks_.room() && sender_->next(now, body)) {
    send_data(MessageKind::kSegment, body);
  }
  if (receiver_.ack_due() && hooks_.room()) send_data(MessageKind::kAck, receiver_.ack(false));
  if (!caller_ && phase_ == CallPhase::kAnswering && sender_->done()) {
    finish(status_ == 0 ? CallEnd::kDone : CallEnd::kFailed, status_, now);
  }
}

void Call::tick(Now now) {
  if (!live()) return;
  if (caller_ && now.mono_ms >= until_ms_) {
    const bool asked = phase_ != CallPhase::kOpen;
    const CallEnd why = !asked                                   ? CallEnd::kTimeout
                        : phase_ == CallPhase::kAwaitingApproval ? CallEnd::kNotApproved
                                                                 : CallEnd::kNoAnswer;
    return finish(why, uint16_t(CallStatus::kCancelled), now);
  }
  if (phase_ == CallPhase::kOpening || phase_ == CallPhase::kAwaitingApproval) {
    if (now.mono_ms >= open_until_ms_) {
      return finish(phase_ == CallPhase::kOpening ? CallEnd::kNoAnswer : CallEnd::kNotApproved,
                    uint16_t(CallStatus::kCancelled), now);
    }
    if (now.mono_ms >= next_open_ms_) send_open(now);
    return;
  }
  if (hooks_.failed_handshakes(peer_) != failures_before_) {
    return finish(CallEnd::kNoKeys, uint16_t(CallStatus::kSilent), now);
  }
  if (now.mono_ms >= heard_ms_ + (caller_ ? kSilenceMs : kCalleeSilenceMs)) {
    return finish(CallEnd::kPeerSilent, uint16_t(CallStatus::kSilent), now);
  }
  if (sender_) sender_->tick(now);
  if (caller_ && now.mono_ms >= next_probe_ms_) {
    next_probe_ms_ = now.mono_ms + kProbeEveryMs;
    send_data(MessageKind::kAck, receiver_.ack(true));
  }
  pump(now);
}

uint64_t Call::deadline() const {
  if (!live()) return forget_ms_;
  uint64_t at = until_ms_;
  if (phase_ == CallPhase::kOpening || phase_ == CallPhase::kAwaitingApproval) {
    return std::min({at, open_until_ms_, next_open_ms_});
  }
  at = std::min(at, heard_ms_ + (caller_ ? kSilenceMs : kCalleeSilenceMs));
  if (sender_) at = std::min(at, sender_->deadline());
  return caller_ ? std::min(at, next_probe_ms_) : at;
}

// --- The end -----------------------------------------------------------------------------------

void Call::end(CallEnd why, uint16_t status, Now now) {
  if (live()) finish(why, status, now);
}

void Call::finish(CallEnd why, uint16_t status, Now now) {
  const bool served = phase_ == CallPhase::kOpen || phase_ == CallPhase::kServing;
  // The last acknowledgement, so that the peer need not take CALL_CLOSE's word for it.
  if (carries_data() && receiver_.ack_due()) send_data(MessageKind::kAck, receiver_.ack(false));
  phase_ = CallPhase::kEnded;
  end_ = why;
  status_ = status;
  times_.ended = now.mono_ms;
  forget_ms_ = std::max(forget_ms_, now.mono_ms + kRememberedMs);
  segments_again_ = segments_again();
  sender_.reset();
  receiver_ = CallReceiver(0);
  // What the caller has got, or has been told, is no failure of the call itself.
  const bool told = times_.accepted == 0 ? accept_refused(why) : !broke_off(why);
  close_status_ = caller_ && told ? 0 : status;
  send_close();
  if (caller_) return;
  result_.clear();
  if (served) hooks_.cancelled(*this);
}

}  // namespace sluice::agent
