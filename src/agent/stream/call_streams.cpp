#include "agent/stream/call_streams.h"

#include <algorithm>

#include "agent/call.h"

namespace sluice::agent {
namespace {

constexpr uint64_t kOrphanMs = 10'000;
constexpr uint64_t kSayRunMs = 100;
constexpr size_t kRuns = 2 * sizeof(uint32_t);  // the sender's, then the receiver's or 0

constexpr size_t kCommon = 12;  // SCTP's header before its chunks
constexpr uint8_t kData = 0, kSack = 3;

// That the peer has the association, not that it wants one.
bool of_established(Bytes packet) {
  return packet.size() > kCommon && (packet[kCommon] == kData || packet[kCommon] == kSack);
}

// A packet with one chunk, a SACK (RFC 9260, 3.3.4).
bool is_sack(Bytes packet) {
  return packet.size() >= kCommon + 4 && packet[kCommon] == kSack &&
         kCommon + ((load_be16(&packet[kCommon + 2]) + 3u) & ~3u) >= packet.size();
}

Carrier carrier_of(const CallName& name) {
  return Carrier::call(name.id, name.own ? 0 : wire::kFlagReply);
}

}  // namespace

// --- What carries --------------------------------------------------------------------------------

void CallStreams::carries(const CallName& name) {
  if (open_at_.contains(name)) return;
  open_at_[name] = open_.size();
  open_.push_back(name);
}

void CallStreams::carries_no_more(const CallName& name) {
  const auto it = open_at_.find(name);
  if (it == open_at_.end()) return;
  if (open_.size() == 1) say_sack();  // nothing else will carry it
  const size_t at = it->second;
  open_at_.erase(it);
  if (at + 1 != open_.size()) {
    open_[at] = open_.back();
    open_at_[open_[at]] = at;
  }
  open_.pop_back();
}

std::optional<Carrier> CallStreams::carrier(std::optional<CallName> wanted) const {
  if (wanted && open_at_.contains(*wanted)) return carrier_of(*wanted);
  if (!open_.empty()) return carrier_of(open_.back());
  return std::nullopt;
}

// One for all packets that came together.
void CallStreams::say_sack() {
  if (sack_.empty()) return;
  if (const auto c = carrier(std::nullopt)) send(*c, sack_);
  sack_.clear();
}

void CallStreams::output(Bytes packet, std::optional<uint16_t> stream) {
  const bool sack = is_sack(packet);
  if (sack) sack_.assign(packet.begin(), packet.end());
  if (sack && receiving_) return;
  // A packet with data has the newest of its own.
  sack_.clear();
  std::optional<CallName> of;
  if (stream && *stream < out_.size()) of = out_[*stream];
  std::optional<Carrier> c = carrier(of);
  // The relay keeps a few packets of a call that it has not decided yet.
  if (of && !open_at_.contains(*of)) {
    const Call* call = hooks_.find(*of);
    if (call != nullptr && call->may_send_early()) c = call->carrier();
  }
  if (c) send(*c, packet);
}

void CallStreams::send(const Carrier& carrier, Bytes packet) {
  body_.resize(kRuns);
  store_le(body_.data(), run_);
  store_le(body_.data() + sizeof run_, peer_run_);
  body_.insert(body_.end(), packet.begin(), packet.end());
  hooks_.packet(carrier, body_);
}

// --- The association -----------------------------------------------------------------------------

void CallStreams::make(size_t body_size) {
  heard_ms_.reset();
  association_ = std::make_unique<Association>(
      part_, body_size - kRuns,
      AssociationHooks{
          [this](Bytes packet, std::optional<uint16_t> stream) { output(packet, stream); },
          [this](uint16_t stream, Bytes message) { on_message(stream, message); }});
  restarts_ = 0;
}

// Whatever had begun on the streams before is lost, but for what can begin once more.
void CallStreams::reset() {
  std::vector<CallName> names;
  for (const auto& [stream, name] : in_) names.push_back(name);
  for (const auto& name : out_) {
    Call* call = name ? hooks_.find(*name) : nullptr;
    if (call != nullptr && !call->begin_again()) names.push_back(*name);
  }
  out_.clear();
  free_.clear();
  abandoned_.clear();
  in_.clear();
  orphans_.clear();
  orphaned_ = 0;
  for (const CallName& name : names) {
    if (Call* call = hooks_.find(name)) hooks_.lost(*call);
  }
}

void CallStreams::drop() {
  association_.reset();
  sack_.clear();
  reset();
}

void CallStreams::say_run() {
  const auto c = carrier(std::nullopt);
  if (!c || (said_run_ms_ && now_.mono_ms < *said_run_ms_ + kSayRunMs)) return;
  said_run_ms_ = now_.mono_ms;
  send(*c, {});
}

void CallStreams::on_packet(Bytes body, size_t body_size, Now now) {
  now_ = now;
  if (body.size() < kRuns || body_size <= kRuns) return;
  const auto from = load_le<uint32_t>(body.data());
  const auto to = load_le<uint32_t>(body.data() + sizeof from);
  const Bytes packet = body.subspan(kRuns);
  if (peer_run_ != 0 && from != peer_run_) drop();
  peer_run_ = from;
  if (to != 0 && to != run_) {
    // Its association is with whoever was here before.
    return say_run();
  }
  if (packet.empty()) return;
  if (!association_) make(body_size);
  receiving_ = true;
  association_->receive(packet);
  receiving_ = false;
  if (association_->failed()) return drop();
  if (of_established(packet)) heard_ms_ = now.mono_ms;
  if (association_->restarts() == restarts_) return;
  restarts_ = association_->restarts();
  reset();
}

void CallStreams::pump(size_t body_size, Now now) {
  now_ = now;
  if (!wants() || body_size <= kRuns) return;
  say_sack();
  if (association_ && association_->failed()) drop();
  if (!association_) {
    if ((ready_.empty() && !wants_association()) || !hooks_.room()) return;
    make(body_size);
  }
  association_->set_packet_size(body_size - kRuns);
  if (!association_->up()) {
    // The other side connects, unless it takes this one for an earlier run of its daemon, with
    // which it is connected and has nothing to say.
    if (part_ == AssociationPart::kListens && !ready_.empty()) say_run();
    return;
  }
  while (!abandoned_.empty()) {
    scratch_.clear();
    wire::write_stream({.flags = wire::kStreamEnd, .status = uint16_t(CallStatus::kCancelled)},
                       scratch_);
    if (!association_->send(abandoned_.front(), scratch_, false)) return;
    free_.push_back(abandoned_.front());
    abandoned_.pop_front();
  }
  // Turn by turn; calls that have to wait keep nobody up that has not.
  for (size_t without = 0; without < ready_.size() && hooks_.room();) {
    const CallName name = ready_.front();
    Call* call = hooks_.find(name);
    const Turn turn = call == nullptr ? Turn::kDone : say(*call);
    if (turn == Turn::kNoRoom) return;
    ready_.pop_front();
    without = turn == Turn::kNotYet ? without + 1 : 0;
    if (turn != Turn::kDone) {
      ready_.push_back(name);
    } else if (call != nullptr) {
      call->said_all();
    }
  }
}

// --- Going out -----------------------------------------------------------------------------------

void CallStreams::ready(Call& call) {
  ready_.push_back(call.name());
}

std::optional<uint16_t> CallStreams::take_stream() {
  if (!free_.empty()) {
    const uint16_t stream = free_.back();
    free_.pop_back();
    return stream;
  }
  if (out_.size() < association_->streams()) {
    out_.emplace_back();
    return static_cast<uint16_t>(out_.size() - 1);
  }
  association_->ask_for_streams();
  return std::nullopt;
}

// One message of the call.
CallStreams::Turn CallStreams::say(Call& call) {
  PipeOut& out = call.out();
  if (!call.has_to_say()) return Turn::kDone;
  const bool answered = heard_ms_ && *heard_ms_ >= out.begun_ms;
  if (out.begun && call.is_caller() && !call.in().begun && !answered && !fresh()) {
    return Turn::kNotYet;
  }
  if (!out.stream) {
    out.stream = take_stream();
    if (!out.stream) return Turn::kNotYet;
    out_[*out.stream] = call.name();
  }
  scratch_.clear();
  size_t taken = 0;
  uint64_t credit = 0;
  bool ends = false;
  if (!out.begun && call.is_caller()) {
    scratch_ = out.first;
    const auto first = wire::read_stream(scratch_);
    taken = first->data.size();
    ends = first->ends();
  } else {
    wire::StreamMessage m;
    if (!out.begun) {
      m.flags |= wire::kStreamBegin | wire::kStreamReply;
      m.call_id = call.id();
    }
    if (call.in().credit_due()) {
      m.flags |= wire::kStreamCredit;
      m.credit = credit = call.in().consumed() + call.in().next_window(now_.mono_ms);
    }
    const uint64_t may = out.allowed - out.sent;
    taken = size_t(std::min<uint64_t>(
        {may, out.bytes.size(), Association::kMostMessage - wire::kStreamOverhead}));
    ends = out.end && !out.ended && taken == out.bytes.size();
    if (ends) {
      m.flags |= wire::kStreamEnd;
      m.status = *out.end;
    }
    wire::write_stream(m, scratch_);
    out.bytes.copy_to(scratch_, taken);
  }
  // Where no other call is open, a later acknowledgement has nothing to travel in.
  const bool at_once = (ends && open_.size() <= 1) || !fresh();
  if (!association_->send(*out.stream, scratch_, at_once)) return Turn::kNoRoom;
  if (out.begun || !call.is_caller()) out.bytes.pop(taken);
  if (credit != 0) call.in().grant(credit, now_.mono_ms);
  if (!out.begun) out.begun_ms = now_.mono_ms;
  out.begun = true;
  out.sent += taken;
  out.ended |= ends;
  call.note_sent(now_);
  return call.has_to_say() ? Turn::kMore : Turn::kDone;
}

void CallStreams::forget(const CallName& name, PipeOut& out) {
  carries_no_more(name);
  if (!out.stream) return;
  const uint16_t stream = *out.stream;
  out.stream.reset();
  if (stream >= out_.size() || out_[stream] != name) return;
  out_[stream].reset();
  if (out.begun && !out.ended) {
    abandoned_.push_back(stream);
  } else {
    free_.push_back(stream);
  }
}

// --- Coming in -----------------------------------------------------------------------------------

void CallStreams::on_message(uint16_t stream, Bytes message) {
  const auto m = wire::read_stream(message);
  if (!m) return;
  if (m->begins()) {
    if (const auto orphan = orphans_.find(stream); orphan != orphans_.end()) {
      orphaned_ -= orphan->second.bytes;
      orphans_.erase(orphan);
    }
    in_.erase(stream);
    const CallName name{m->call_id, m->reply()};
    Call* call = hooks_.find(name);
    if (call == nullptr) {
      if (!m->reply()) keep_orphan(stream, *m, message);
      return;
    }
    in_[stream] = name;
    return call->on_stream(*m, message, now_);
  }
  if (orphans_.contains(stream)) return keep_orphan(stream, *m, message);
  const auto it = in_.find(stream);
  if (it == in_.end()) return;
  if (Call* call = hooks_.find(it->second)) {
    call->on_stream(*m, message, now_);
  } else {
    in_.erase(it);
  }
}

// CALL_OPEN may be overtaken by what the call says. No more is kept than its caller may send.
void CallStreams::keep_orphan(uint16_t stream, const wire::StreamMessage& m, Bytes message) {
  std::erase_if(orphans_, [&](const auto& o) {
    const bool old = now_.mono_ms >= o.second.since_ms + kOrphanMs;
    if (old) orphaned_ -= o.second.bytes;
    return old;
  });
  auto it = orphans_.find(stream);
  if (it == orphans_.end()) {
    if (orphans_.size() >= kMostOrphans) return;
    it = orphans_.emplace(stream, Orphan{m.call_id, {}, 0, now_.mono_ms}).first;
  }
  Orphan& orphan = it->second;
  const bool fits = orphan.bytes + message.size() <= 2 * kFirstCredit &&
                    orphaned_ + message.size() <= kMostOrphaned;
  if (!fits) {
    orphaned_ -= orphan.bytes;
    orphans_.erase(it);
    return;
  }
  orphan.bytes += message.size();
  orphaned_ += message.size();
  orphan.messages.push_back(to_buffer(message));
}

void CallStreams::take_orphans(Call& call, Now now) {
  now_ = now;
  const auto it = std::find_if(orphans_.begin(), orphans_.end(), [&](const auto& o) {
    return !call.is_caller() && o.second.call_id == call.id();
  });
  if (it == orphans_.end()) return;
  const auto [stream, orphan] = std::pair(it->first, std::move(it->second));
  orphaned_ -= orphan.bytes;
  orphans_.erase(it);
  if (now.mono_ms >= orphan.since_ms + kOrphanMs) return;
  in_[stream] = call.name();
  for (const Buffer& message : orphan.messages) {
    if (const auto m = wire::read_stream(message)) call.on_stream(*m, message, now_);
  }
}

}  // namespace sluice::agent
