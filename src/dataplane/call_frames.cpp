// Frames of calls that are open, or about to be: data by their record, what a signature has to be
// verified for into the queue, and out of it again.
#include <rte_mbuf.h>

#include "base/prefetch.h"
#include "dataplane/call_steps.h"
#include "dataplane/credentials.h"

namespace sluice::dataplane {
namespace {

using fabric::CallRecord;
using fabric::DropReason;
using fabric::kNone;
using wire::FrameHeader;
using wire::FrameType;

constexpr unsigned kDataPerCall = 8;
// Of one agent, by kind; while half of the queue is taken, so that few cannot keep all others out.
constexpr unsigned kPerAgent = 64;
constexpr unsigned kPerAgentWhenFull = 8;
constexpr uint32_t kMostRepeats = 8;
constexpr uint64_t kDataWaitsMs = 10;

// The call that a frame belongs to: the sender's own, or with `reply` the peer's.
CallRecord* record_of(const Context& c, const Slot& s, const FrameHeader& f) noexcept {
  const bool reply = (f.flags & wire::kFlagReply) != 0;
  const fabric::Edge& edge = c.tables.edges[s.edge];
  const uint32_t caller = reply ? edge.target : s.session->agent;
  const uint32_t page = c.tables.agents[caller].call_page.load(std::memory_order_acquire);
  if (page == kNone) return nullptr;
  return c.arena.calls(page).find(f.call_id, reply ? edge.opposite_label : f.label);
}

// What the callee sends belongs to a call of the edge on which it was opened.
bool callers_window_open(const Context& c, const CallRecord& r) noexcept {
  return c.now <
         c.tables.edges[wire::label_slot(r.label)].window_until.load(std::memory_order_relaxed);
}

bool fits(const Context& c, unsigned has) noexcept {
  const unsigned waiting = c.calls->waiting.size();
  const unsigned most = waiting < fabric::kWaitingCalls / 2 ? kPerAgent : kPerAgentWhenFull;
  return has < most && !c.calls->waiting.full();
}

WaitingFrame& push(Context& c, Slot& s, const FrameHeader& f, bool signed_frame) noexcept {
  WaitingFrame& w = c.calls->waiting.push();
  w.slot = s;
  w.generation = s.session->generation;
  w.agent = s.session->agent;
  w.call_id = f.call_id;
  w.label = f.label;
  w.reply = f.flags & wire::kFlagReply;
  w.since = c.now;
  w.signed_frame = signed_frame;
  fabric::Agent& agent = c.tables.agents[w.agent];
  ++(signed_frame ? agent.waiting_opens : agent.waiting_data);
  if (signed_frame) c.fair->charge(agent.tenant, FairShare::kSignature);
  s.next = Next::kWait;
  return w;
}

void wait_in_line(Context& c, Slot& s, const FrameHeader& f, unsigned before) noexcept {
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  if (before >= kDataPerCall || !fits(c, agent.waiting_data)) {
    return s.die(DropReason::kCallQueueFull);
  }
  push(c, s, f, false);
}

// Behind the signature that it depends on, if that waits here.
void wait_behind(Context& c, Slot& s, const FrameHeader& f) noexcept {
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  if (agent.waiting_opens == 0) return s.die(DropReason::kNoCall);
  const auto found = c.calls->waiting.look_for(s.session->agent, f);
  if (found.signed_frame == nullptr) return s.die(DropReason::kNoCall);
  wait_in_line(c, s, f, found.data);
}

// What came before it waits still.
bool waits_its_turn(Context& c, Slot& s, const FrameHeader& f) noexcept {
  if (s.verdict != Verdict::kNone || c.tables.agents[s.session->agent].waiting_data == 0) {
    return false;
  }
  const auto found = c.calls->waiting.look_for(s.session->agent, f);
  if (found.data == 0) return false;
  wait_in_line(c, s, f, found.data);
  return true;
}

void pass_data(Context& c, Slot& s, const FrameHeader& f) noexcept {
  const bool reply = (f.flags & wire::kFlagReply) != 0;
  if (waits_its_turn(c, s, f)) return;
  CallRecord* r = record_of(c, s, f);
  if (r == nullptr) return wait_behind(c, s, f);
  if (reply) {
    const uint32_t accepted = r->accepted.load(std::memory_order_relaxed);
    if (accepted == 0) return wait_behind(c, s, f);
    // What was refused, or closed by the sender itself, takes no more.
    if (accepted != 1 || r->closed_back.load(std::memory_order_relaxed) != 0) {
      return s.die(DropReason::kNoCall);
    }
    if (!callers_window_open(c, *r)) return s.die(DropReason::kOutsideWindow);
  } else if (r->closed != 0) {
    return s.die(DropReason::kNoCall);
  }
  if ((c.tables.edges[s.edge].seals & (s.header_seal ? 2 : 1)) == 0) {
    return s.die(DropReason::kSealNotAllowed);
  }
  const uint16_t size = s.size;
  forward_call_frame(c, s, false);
  if (!s.at(Next::kForward)) return;
  if (reply) {
    r->packets_back.add(1);
    r->bytes_back.add(size);
    r->last_back.store(c.now, std::memory_order_relaxed);
  } else {
    r->packets.add(1);
    r->bytes.add(size);
    r->last = c.now;
  }
}

void pass_close(Context& c, Slot& s, const FrameHeader& f) noexcept {
  const auto close = load_le<wire::CallClose>(s.outer + wire::kDataRegion + sizeof f);
  if (!all_zero(Bytes(close.zero))) return s.die(DropReason::kFrameMalformed);
  if (waits_its_turn(c, s, f)) return;
  CallRecord* r = record_of(c, s, f);
  if (r == nullptr) return wait_behind(c, s, f);
  const bool reply = (f.flags & wire::kFlagReply) != 0;
  if (reply && c.tables.agents[s.session->agent].waiting_opens != 0 &&
      c.calls->waiting.look_for(s.session->agent, f).signed_frame != nullptr) {
    return wait_behind(c, s, f);
  }
  if (reply && !callers_window_open(c, *r)) return s.die(DropReason::kOutsideWindow);
  // What is said again moves nothing, so that no call lives on closing.
  const uint32_t said = reply ? r->closes_back : r->closes;
  if (said > kMostRepeats) return s.die(DropReason::kCallRepeated);
  if (reply) {
    ++r->closes_back;
  } else {
    ++r->closes;
  }
  if (said == 0 && reply) {
    r->closed_back.store(1u + close.status, std::memory_order_release);
    r->last_back.store(c.now, std::memory_order_relaxed);
  } else if (said == 0) {
    r->closed = 1;
    r->status = close.status;
    r->last = c.now;
  }
  forward_call_frame(c, s, false);
}

void pass_accept(Context& c, Slot& s, const FrameHeader& f) noexcept {
  const auto accept = load_le<wire::CallAccept>(s.outer + wire::kDataRegion + sizeof f);
  CallRecord* r = record_of(c, s, f);
  if (r == nullptr) return s.die(DropReason::kNoCall);
  if (!callers_window_open(c, *r)) return s.die(DropReason::kOutsideWindow);
  const wire::Envelope& e = r->envelope;
  if (!all_zero(Bytes(accept.zero)) || accept.epoch != e.epoch || accept.counter != e.counter) {
    return s.die(DropReason::kAcceptBad);
  }
  const uint32_t before = r->accepted.load(std::memory_order_relaxed);
  if (before != 0 && before != 1u + accept.status) return s.die(DropReason::kAcceptBad);
  if (s.verdict == Verdict::kBad) return s.die(DropReason::kAcceptBad);
  if (s.verdict == Verdict::kNone) {
    const bool may_wait = c.tables.agents[s.session->agent].waiting_opens != 0;
    if ((may_wait && c.calls->waiting.look_for(s.session->agent, f).signed_frame != nullptr) ||
        r->repeats_back >= kMostRepeats) {
      return s.die(DropReason::kCallRepeated);
    }
    if (!can_reach(c, s)) return s.die(DropReason::kPeerOffline);
    if (before != 0) ++r->repeats_back;
    if (const DropReason why = charge_call(c, s); why != DropReason::kNone) return s.die(why);
    return wait_for_signature(c, s, f);
  }
  forward_call_frame(c, s, true);
  if (!s.at(Next::kForward)) return;
  if (before == 0) c.counters.accepted.add(1);
  r->accepted.store(1u + accept.status, std::memory_order_release);
  r->last_back.store(c.now, std::memory_order_relaxed);
}

// Null if the session ended, or its slot has another tenant, since it was set aside.
bool still_there(const Context& c, const WaitingFrame& w) noexcept {
  const fabric::Session& session = *w.slot.session;
  return session.state.load(std::memory_order_acquire) != uint32_t(fabric::SessionState::kFree) &&
         session.generation == w.generation && c.now < session.expires;
}

// What is to be verified of a frame. False: its record is of a call that has ended, and nothing is.
bool fill_request(Context& c, const Slot& s, VerifyRequest& request) noexcept {
  const uint8_t* region = s.outer + wire::kDataRegion;
  const uint8_t* extension = region + sizeof(FrameHeader);
  size_t size = 0;
  const auto add = [&](const void* from, size_t n) {
    std::memcpy(request.message.data() + size, from, n);
    size += n;
  };
  size_t signature_at = 0;
  if (region[0] == uint8_t(FrameType::kCallOpen)) {
    add(crypto::kLabelCall.data(), crypto::kLabelCall.size());
    add(extension, wire::kEnvelopeSigned);
    signature_at = offsetof(wire::Envelope, signature);
  } else {
    const CallRecord* r = record_of(c, s, wire::read_frame(region));
    if (r == nullptr) return false;
    ByteArray<wire::kAcceptSigned> text;
    wire::write_accept_signed(r->envelope, load_le<wire::CallAccept>(extension), text);
    add(crypto::kLabelAccept.data(), crypto::kLabelAccept.size());
    add(text.data(), text.size());
    signature_at = offsetof(wire::CallAccept, signature);
  }
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  request.size = static_cast<uint32_t>(size);
  std::memcpy(request.signature.data(), extension + signature_at, request.signature.size());
  agent.identity.get(request.key);
  request.agent = s.session->agent;
  return true;
}

// Whether a waiting frame fits into the burst, with what goes before it. An empty burst takes all.
bool fits_in(const Context& c, const Burst& b, Slot::Credential credential) noexcept {
  static_assert(wire::kCredentialParts < fabric::kMaxBurst);
  return b.count == 0 || b.count + credential.frames < c.options.burst;
}

// A waiting frame is taken up again, as if it had just been committed.
Slot& resume(Context& c, Burst& b, const WaitingFrame& w, Slot::Credential credential) noexcept {
  fabric::Agent& agent = c.tables.agents[w.agent];
  --(w.signed_frame ? agent.waiting_opens : agent.waiting_data);
  if (!keep_room(c, b, credential.frames)) credential = {fabric::kNoCredential, 0};
  Slot& s = b.add(w.slot.mbuf);
  s = w.slot;
  s.credential = credential;
  s.next = Next::kFrame;
  s.verdict = Verdict::kGood;  // it has waited
  c.counters.resumed.add(1);
  if (!still_there(c, w)) {
    s.die(DropReason::kSessionExpired);
  } else if (!w.signed_frame && c.now - w.since > c.clock.ticks_from_ms(kDataWaitsMs)) {
    s.die(DropReason::kCallWait);
  }
  return s;
}

// What a verifier core has answered, in the order in which it came.
unsigned take_answered(Context& c, Burst& b) noexcept {
  WaitingFrames& waiting = c.calls->waiting;
  while (waiting.size() != 0 && b.count < c.options.burst) {
    const WaitingFrame& w = waiting.front();
    const Slot::Credential credential = room_needed(c, w);
    if (!fits_in(c, b, credential)) break;
    Verdict verdict = Verdict::kGood;
    if (w.signed_frame) {
      VerifyRequest& r = c.calls->verifier_core->at(w.request);
      const auto state = static_cast<AskState>(r.state.load(std::memory_order_acquire));
      if (state == AskState::kAsked) break;
      verdict = state == AskState::kGood ? Verdict::kGood : Verdict::kBad;
      r.state.store(uint32_t(AskState::kNone), std::memory_order_relaxed);
      c.counters.verified.add(1);
    }
    resume(c, b, w, credential).verdict = verdict;
    waiting.pop();
  }
  return b.count;
}

}  // namespace

// Whose page the call is in: the sender's, or with `reply` its peer's.
void prefetch_caller(const Context& c, const Slot& s) noexcept {
  const fabric::Agent* agents = c.tables.agents;
  prefetch(&agents[s.session->agent].call_page);
  if ((s.outer[wire::kDataRegion + 1] & wire::kFlagReply) != 0) {
    prefetch(&agents[c.tables.edges[s.edge].target].call_page);
  }
}

void prefetch_call(const Context& c, const Slot& s) noexcept {
  const FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
  if (f.type == uint8_t(FrameType::kCallOpen)) prefetch_credential(c, s);
  const fabric::Agent& sender = c.tables.agents[s.session->agent];
  const fabric::Agent& peer = c.tables.agents[c.tables.edges[s.edge].target];
  if (const uint32_t out = peer.session.load(std::memory_order_acquire); out != kNone) {
    prefetch(&c.tables.sessions[out]);
    prefetch(&c.tables.sessions[out].endpoint);
    prefetch(&c.tables.lanes[out]);
  }
  const bool reply = (f.flags & wire::kFlagReply) != 0;
  const uint32_t page = (reply ? peer : sender).call_page.load(std::memory_order_acquire);
  if (page == kNone) return;
  const fabric::CallTable calls = c.arena.calls(page);
  const CallRecord& first = calls.at(static_cast<uint32_t>(f.call_id) & (calls.slots() - 1));
  prefetch(&first);
  prefetch(&first.accepted);
  if (f.type != uint8_t(FrameType::kCallOpen)) return;
  // A new one is compared with all that stand where it may.
  for (uint32_t i = 1; i < fabric::CallTable::kProbes; ++i) {
    prefetch(&calls.at(static_cast<uint32_t>(f.call_id + i) & (calls.slots() - 1)));
  }
  sender.calls.prefetch(f.call_id);
}

void wait_for_signature(Context& c, Slot& s, const FrameHeader& f) noexcept {
  if (!fits(c, c.tables.agents[s.session->agent].waiting_opens)) {
    return s.die(DropReason::kCallQueueFull);
  }
  VerifyQueue* core = c.calls->verifier_core;
  if (core != nullptr && !fill_request(c, s, core->next())) return s.die(DropReason::kNoCall);
  WaitingFrame& w = push(c, s, f, true);
  if (core != nullptr) w.request = core->ask();
}

void wait_for_room(Context& c, Slot& s, const FrameHeader& f) noexcept {
  wait_in_line(c, s, f, c.calls->waiting.look_for(s.session->agent, f).data);
}

void pass_call_frame(Context& c, Slot& s) noexcept {
  const FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
  switch (static_cast<FrameType>(f.type)) {
    case FrameType::kCallOpen:
      return pass_open(c, s);
    case FrameType::kCallData:
      return pass_data(c, s, f);
    case FrameType::kCallClose:
      return pass_close(c, s, f);
    case FrameType::kCallAccept:
      return pass_accept(c, s, f);
    default:
      return s.die(DropReason::kFrameUnknown);
  }
}

unsigned take_verified(Context& c, Burst& b, bool idle) noexcept {
  CallDesk& desk = *c.calls;
  WaitingFrames& waiting = desk.waiting;
  if (waiting.size() == 0) return 0;
  if (desk.verifier_core != nullptr) return take_answered(c, b);
  if (!idle && c.clock.ticks() - desk.slice_ended < desk.slice_took) return 0;
  crypto::VerifyJob jobs[CallDesk::kSlice];
  Slot* of[CallDesk::kSlice];
  unsigned count = 0;
  while (waiting.size() != 0 && b.count < c.options.burst) {
    const WaitingFrame& w = waiting.front();
    if (w.signed_frame && count == CallDesk::kSlice) break;
    const Slot::Credential credential = room_needed(c, w);
    if (!fits_in(c, b, credential)) break;
    Slot& s = resume(c, b, w, credential);
    if (w.signed_frame && s.alive()) {
      s.verdict = Verdict::kBad;
      VerifyRequest& r = desk.slice[count];
      if (fill_request(c, s, r)) {
        jobs[count] = job_of(c.arena, r);
        of[count++] = &s;
      }
    }
    waiting.pop();
  }
  if (count == 0) return b.count;
  const uint64_t began = c.clock.ticks();
  const uint64_t good = desk.verifier.verify({jobs, count});
  desk.slice_ended = c.clock.ticks();
  desk.slice_took = desk.slice_ended - began;
  c.counters.verified.add(count);
  for (unsigned i = 0; i < count; ++i) {
    if ((good >> i & 1) != 0) of[i]->verdict = Verdict::kGood;
  }
  return b.count;
}

}  // namespace sluice::dataplane
