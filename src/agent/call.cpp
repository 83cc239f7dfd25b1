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

ByteArray<16> commitment_of(Bytes key, Bytes first_message) {
  return crypto::blake2b_128(key, {first_message});
}

Call::Call(CallOwner& owner, const crypto::PublicKey& peer, const wire::Envelope& envelope,
           Buffer first, uint64_t timeout_ms, uint64_t random, Now now)
    : owner_(owner),
      peer_(peer),
      envelope_(envelope),
      caller_(true),
      phase_(CallPhase::kOpening),
      until_ms_(timeout_ms == kNever ? kNever : now.mono_ms + timeout_ms),
      random_(random) {
  times_.opened = heard_ms_ = now.mono_ms;
  open_until_ms_ =
      now.mono_ms + (envelope.expires_ms > now.unix_ms ? envelope.expires_ms - now.unix_ms : 0);
  failures_before_ = owner_.hooks().failed_handshakes(peer_);
  owner_.opening(1);
  const auto message = wire::read_stream(first);
  if (message->ends()) out_.end = message->status;
  out_.first = std::move(first);
  tell_room_ = true;
}

Call::Call(CallOwner& owner, const crypto::PublicKey& peer, const wire::Envelope& envelope,
           const wire::CallAccept& accept, Now now)
    : owner_(owner),
      peer_(peer),
      envelope_(envelope),
      accept_(accept),
      caller_(false),
      phase_(CallPhase::kOpen) {
  times_.opened = heard_ms_ = now.mono_ms;
  failures_before_ = owner_.hooks().failed_handshakes(peer_);
  next_probe_ms_ = now.mono_ms + kProbeAfterMs;
  if (accept.status == 0) {
    times_.accepted = now.mono_ms;
    tell_room_ = true;
    return;
  }
  set_phase(CallPhase::kEnded);
  end_ = static_cast<AcceptStatus>(accept.status) == AcceptStatus::kBusy ? CallEnd::kBusy
                                                                         : CallEnd::kNotServed;
  times_.ended = now.mono_ms;
  const uint64_t left = envelope.expires_ms > now.unix_ms ? envelope.expires_ms - now.unix_ms : 0;
  forget_ms_ = now.mono_ms + std::min(left, kRefusedMs);
}

void Call::set_phase(CallPhase phase) {
  const auto counts = [this](CallPhase p) { return caller_ && p == CallPhase::kOpening; };
  owner_.opening(ptrdiff_t{counts(phase)} - ptrdiff_t{counts(phase_)});
  phase_ = phase;
}

Call::~Call() {
  set_phase(CallPhase::kEnded);
  if (user_ != nullptr) user_->on_end(*this);
  owner_.holds(-ptrdiff_t(held_));
}

// --- What leaves -------------------------------------------------------------------------------

void Call::send_frame(wire::FrameType type, Bytes extension) {
  owner_.hooks().frame(peer_,
                       {uint8_t(type), uint8_t(caller_ ? 0 : wire::kFlagReply),
                        static_cast<uint16_t>(extension.size()), 0, id()},
                       extension);
}

void Call::send_open(Now now) {
  next_open_ms_ = phase_ == CallPhase::kAwaitingApproval ? now.mono_ms + kOpenAgainMs
                                                         : now.mono_ms + backoff_.next(random_);
  random_ = random_ >> 1 | random_ << 63;
  send_frame(wire::FrameType::kCallOpen, bytes_of(envelope_));
  owner_.changed(*this);
}

void Call::send_accept() {
  send_frame(wire::FrameType::kCallAccept, bytes_of(accept_));
}

void Call::send_close() {
  if (closes_left_ == 0) return;
  --closes_left_;
  const wire::CallClose close{close_status_, {}, out_.sent};
  send_frame(wire::FrameType::kCallClose, bytes_of(close));
}

void Call::keep(bool probe) {
  const uint8_t body = probe ? 1 : 0;
  owner_.hooks().data(peer_, carrier(), MessageKind::kKeep, {&body, 1});
}

void Call::start(Now now) {
  if (!caller_) {
    send_accept();
    if (live()) owner_.opened(*this);
    return;
  }
  send_open(now);
  get_ready();
}

// --- What arrives ------------------------------------------------------------------------------

void Call::heard(Now now) {
  if (!live()) return;
  heard_ms_ = now.mono_ms;
  next_probe_ms_ = now.mono_ms + kProbeAfterMs;
  owner_.changed(*this);
}

void Call::on_open_again(Now now) {
  if (caller_ || accepts_left_ == 0) return;
  --accepts_left_;
  heard(now);
  send_accept();
}

bool Call::awaits(const wire::CallAccept& accept) const {
  return caller_ && accept.epoch == envelope_.epoch && accept.counter == envelope_.counter &&
         all_zero(accept.zero);
}

void Call::on_accept(const wire::CallAccept& accept, Now now) {
  if (!live() && end_ != CallEnd::kDone) send_close();  // it came too late
  if (phase_ != CallPhase::kOpening && phase_ != CallPhase::kAwaitingApproval) return;
  if (accept.status == 0) {
    set_phase(CallPhase::kOpen);
    times_.accepted = now.mono_ms;
    failures_before_ = owner_.hooks().failed_handshakes(peer_);
    owner_.opened(*this);
    heard(now);
    get_ready();
    return owner_.notify(*this);
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
    set_phase(CallPhase::kAwaitingApproval);
    next_open_ms_ = now.mono_ms + kOpenAgainMs;
    owner_.changed(*this);
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
    if (!live() || read_all()) return;
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

void Call::on_keep(Bytes body, Now now) {
  if (!live()) {
    // The other side does not know yet that it is over.
    if (times_.accepted != 0 && now.mono_ms >= next_close_ms_) {
      next_close_ms_ = now.mono_ms + kCloseEveryMs;
      send_close();
    }
    return;
  }
  heard(now);
  if (!body.empty() && body[0] == 1 && times_.accepted != 0) keep(false);
}

void Call::on_stream(const wire::StreamMessage& m, Bytes bytes, Now now) {
  if (!live()) return;
  if (times_.accepted != 0) heard(now);
  const bool first = m.begins() && !in_.begun;
  const bool fits = m.begins() == !in_.begun &&
                    (!in_.end || (m.data.empty() && !m.ends() && !m.begins())) &&
                    in_.received + m.data.size() <= in_.granted;
  const bool committed = !first || caller_ || all_zero(Bytes(envelope_.commitment)) ||
                         commitment_of(m.key, bytes) == take<16>(envelope_.commitment);
  if (!fits || !committed) {
    return finish(CallEnd::kBadStream, uint16_t(CallStatus::kBadStream), now);
  }
  in_.begun = true;
  out_.first = {};
  if (m.credits() && m.credit > out_.allowed) {
    out_.allowed = m.credit;
    get_ready();
  }
  in_.received += m.data.size();
  in_.bytes.push(m.data);
  if (m.ends()) in_.end = m.status;
  const size_t holds = in_.bytes.size() + (whole_ ? whole_->held() : 0);
  owner_.holds(ptrdiff_t(holds) - ptrdiff_t(held_));
  held_ = holds;
  if (!owner_.may_hold()) {
    return finish(CallEnd::kNoMemory, uint16_t(CallStatus::kNoMemory), now);
  }
  if (!caller_ && in_.end && *in_.end != 0) {
    return finish(CallEnd::kCancelled, uint16_t(CallStatus::kCancelled), now);
  }
  tell_bytes_ = true;
  owner_.notify(*this);
}

bool Call::begin_again() {
  if (!caller_ || in_.begun || out_.first.empty()) return false;
  const auto first = wire::read_stream(out_.first);
  if (out_.begun && out_.sent != first->data.size()) return false;
  out_.stream.reset();
  out_.begun = out_.ended = false;
  out_.sent = 0;
  get_ready();
  return true;
}

void Call::on_lost(Now now) {
  if (live()) finish(CallEnd::kStreamReset, uint16_t(CallStatus::kStreamReset), now);
}

// --- Its user ------------------------------------------------------------------------------------

void Call::tell(Now now) {
  told = false;
  if (std::exchange(tell_end_, false)) {
    if (CallUser* user = std::exchange(user_, nullptr)) user->on_end(*this);
    return;
  }
  const auto user = [this] { return user_ != nullptr ? user_ : whole_.get(); };
  if (!live() || times_.accepted == 0 || user() == nullptr) return;
  if (tell_room_ && out_.bytes.size() < kMostQueued && !out_.end) {
    tell_room_ = false;
    user()->on_room(*this);
  }
  if (live() && user() != nullptr && std::exchange(tell_bytes_, false)) user()->on_bytes(*this);
  maybe_done(now);
}

// The caller has all that there is.
void Call::maybe_done(Now now) {
  if (!caller_ || !live() || times_.accepted == 0 || !read_all()) return;
  finish(*in_.end == 0 ? CallEnd::kDone : CallEnd::kFailed, *in_.end, now);
}

size_t Call::write(Bytes bytes) {
  if (!live() || out_.end) return 0;
  const size_t room = kMostQueued - std::min(kMostQueued, out_.bytes.size());
  const size_t taken = std::min(room, bytes.size());
  out_.bytes.push(bytes.first(taken));
  tell_room_ |= taken < bytes.size();
  get_ready();
  return taken;
}

void Call::end_writing(uint16_t status) {
  if (!live() || out_.end) return;
  out_.end = status;
  if (!caller_) {
    set_phase(CallPhase::kAnswering);
    status_ = status;
  }
  get_ready();
}

void Call::consume(size_t n) {
  in_.bytes.pop(n);
  const size_t holds = in_.bytes.size() + (whole_ ? whole_->held() : 0);
  owner_.holds(ptrdiff_t(holds) - ptrdiff_t(held_));
  held_ = holds;
  if (live() && in_.credit_due()) get_ready();
  if (read_all()) owner_.notify(*this);
}

void Call::send_whole(Buffer message) {
  whole_ = std::make_unique<WholeMessage>(nullptr);
  if (!out_.end) whole_->send(*this, std::move(message), 0);
}

void Call::collect() {
  whole_ = std::make_unique<WholeMessage>([](Call& call) {
    call.times_.sent = call.owner_.hooks().now().mono_ms;
    call.set_phase(CallPhase::kServing);
    call.owner_.hooks().request(call);
  });
}

bool Call::answer(uint16_t status, Buffer response) {
  if (caller_ || phase_ != CallPhase::kServing || !whole_) return false;
  whole_->send(*this, std::move(response), status);
  set_phase(CallPhase::kAnswering);
  status_ = status;
  owner_.notify(*this);
  return true;
}

Buffer Call::take_result() {
  Buffer out = whole_ ? whole_->take() : Buffer{};
  owner_.holds(-ptrdiff_t(held_));
  held_ = 0;
  return out;
}

void Call::end(CallEnd why, uint16_t status) {
  if (live()) finish(why, status, owner_.hooks().now());
}

void Call::leave() {
  user_ = nullptr;
  tell_end_ = false;
  end(CallEnd::kCancelled, uint16_t(CallStatus::kCancelled));
}

// --- Its streams
// -----------------------------------------------------------------------------------

bool Call::has_to_say() const {
  const bool first = caller_ && !out_.begun;
  if (!carries_data() && !(first && may_send_early())) return false;
  if (first) return true;
  if (in_.credit_due()) return true;
  if (out_.ended) return false;
  const bool bytes = !out_.bytes.empty() && out_.sent < out_.allowed;
  return bytes || (out_.end && out_.bytes.empty());
}

void Call::get_ready() {
  if (queued_ || !has_to_say()) return;
  queued_ = true;
  owner_.ready(*this);
}

void Call::note_sent(Now now) {
  if (out_.ended && times_.sent == 0 && caller_) times_.sent = now.mono_ms;
  // The callee hears soon that its caller has it all, or asks.
  if (out_.ended && !caller_) {
    next_probe_ms_ = std::min(next_probe_ms_, now.mono_ms + kProbeEveryMs);
    owner_.changed(*this);
  }
  if (tell_room_ && out_.bytes.size() <= kMostQueued / 2) owner_.notify(*this);
}

// --- Time --------------------------------------------------------------------------------------

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
  if (owner_.hooks().failed_handshakes(peer_) != failures_before_) {
    return finish(CallEnd::kNoKeys, uint16_t(CallStatus::kSilent), now);
  }
  if (now.mono_ms >= heard_ms_ + (caller_ ? kSilenceMs : kCalleeSilenceMs)) {
    return finish(CallEnd::kPeerSilent, uint16_t(CallStatus::kSilent), now);
  }
  if (now.mono_ms >= next_probe_ms_) {
    next_probe_ms_ = now.mono_ms + kProbeEveryMs;
    keep(true);
  }
}

uint64_t Call::deadline() const {
  if (!live()) return forget_ms_;
  if (phase_ == CallPhase::kOpening || phase_ == CallPhase::kAwaitingApproval) {
    return std::min({until_ms_, open_until_ms_, next_open_ms_});
  }
  const uint64_t silent = heard_ms_ + (caller_ ? kSilenceMs : kCalleeSilenceMs);
  return std::min({until_ms_, silent, next_probe_ms_});
}

// --- The end -----------------------------------------------------------------------------------

void Call::finish(CallEnd why, uint16_t status, Now now) {
  const bool served = phase_ == CallPhase::kOpen || phase_ == CallPhase::kServing;
  set_phase(CallPhase::kEnded);
  end_ = why;
  status_ = status;
  times_.ended = now.mono_ms;
  forget_ms_ = now.mono_ms + kLingerMs;
  // What the caller has got, or has been told, is no failure of the call itself.
  const bool told_so = times_.accepted == 0 ? accept_refused(why) : !broke_off(why);
  close_status_ = caller_ && told_so ? 0 : status;
  owner_.ended(*this);
  credential_.reset();
  in_.bytes.clear();
  if (why != CallEnd::kDone) in_.end.reset();
  out_.bytes.clear();
  out_.first = {};
  send_close();
  if (!caller_ && whole_) {
    whole_->on_end(*this);
    whole_->take();
  }
  const size_t holds = whole_ ? whole_->held() : 0;
  owner_.holds(ptrdiff_t(holds) - ptrdiff_t(held_));
  held_ = holds;
  tell_end_ = user_ != nullptr;
  if (tell_end_) owner_.notify(*this);
  owner_.changed(*this);
  if (!caller_ && served && user_ == nullptr) owner_.hooks().cancelled(*this);
}

}  // namespace sluice::agent
