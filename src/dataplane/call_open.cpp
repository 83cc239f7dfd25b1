// The decision on a CALL_OPEN: the checks of docs/protocol.md §7 in their order, twice. They only
// read (and spend rate tokens) when the frame arrives, so that whoever fails has cost no signature;
// they are made again, and what they rest on is used up, once the signature is known to hold.
#include <rte_mbuf.h>

#include "crypto/hash.h"
#include "dataplane/call_limits.h"
#include "dataplane/call_steps.h"
#include "dataplane/credentials.h"

namespace sluice::dataplane {
namespace {

using fabric::CallRecord;
using fabric::DropReason;
using fabric::kNone;
using wire::CallReason;
using wire::Envelope;

constexpr uint8_t kMostRepeats = 8;
// CALL_DENY that one agent is sent, and denials of its calls that are recorded one by one.
constexpr uint32_t kDenials = 64;
constexpr uint64_t kDenialsMs = 100;
constexpr uint8_t kReplyOnly = 3;

uint64_t tag_of(const Context& c, const Envelope& e, uint32_t agent) noexcept {
  ByteArray<20> in;
  std::memcpy(in.data(), e.idempotency, 16);
  store_le(in.data() + 16, agent);
  // 0 is what a key that was never used has.
  return crypto::siphash(take<16>(c.arena.relay().idempotency_key), in) | 1;
}

audit::Record decision_record(const Context& c, const Slot& s, const Envelope& e,
                              CallReason reason) noexcept {
  const fabric::Agent& caller = c.tables.agents[s.session->agent];
  const bool known = reason != CallReason::kNoEdge && s.edge < c.tables.edge_count;
  const uint32_t target = known ? c.tables.edges[s.edge].target : kNone;
  audit::CallDecision out;
  out.source = static_cast<uint16_t>(c.worker);
  out.time_ms = static_cast<uint64_t>(unix_ms_of(c));
  out.caller = caller.address;
  out.callee = target == kNone ? 0 : c.tables.agents[target].address;
  out.reason = static_cast<uint8_t>(reason);
  out.capability = e.capability;
  out.protocol = e.protocol;
  out.scope_count = e.scope_count;
  out.service = e.service;
  out.trace = take<16>(e.trace);
  out.counter = e.counter;
  out.issued_ms = e.issued_ms;
  out.grant = e.grant;
  out.commitment = take<16>(e.commitment);
  std::memcpy(out.scopes.data(), reinterpret_cast<const uint8_t*>(&e) + offsetof(Envelope, scopes),
              out.scopes.size());
  return audit::record_of(out);
}

bool rights_cover(const Context& c, const fabric::Edge& edge, const Envelope& e) noexcept {
  if (edge.scopes == fabric::kAnyScope || e.scope_count == 0) return true;
  if (edge.scopes == fabric::kNoScope) return false;
  const fabric::ScopeSet& set = c.arena.scopes()[edge.scopes];
  for (unsigned i = 0; i < e.scope_count; ++i) {
    const uint64_t scope = e.scopes[i];
    if (!set.contains(scope)) return false;
  }
  return true;
}

bool has_bit(uint8_t bits, uint8_t number) noexcept {
  return number < 8 && (bits >> number & 1) != 0;
}

bool belongs_here(const Context& c, const Slot& s, const wire::FrameHeader& f,
                  const Envelope& e) noexcept {
  return wire::well_formed(e) && e.counter == f.call_id &&
         e.expires_ms - e.issued_ms <= c.options.calls.longest_life_ms &&
         e.issuer == c.tables.agents[s.session->agent].address;
}

// Whether there is room for one more call of that agent, whatever its page.
bool has_room(const Context& c, const fabric::Agent& agent, const Envelope& e,
              uint64_t tag) noexcept {
  const uint32_t page = agent.call_page.load(std::memory_order_relaxed);
  if (page == kNone) return !c.calls->free_pages.empty();
  const fabric::IdempotencyKeys keys(c.arena.keys(page), c.arena.sizes().keys_each);
  if (keys.room(tag, c.now) == nullptr) return false;
  const fabric::CallTable table = c.arena.calls(page);
  if (table.room(e.counter) != nullptr) return true;
  return table.reclaim(e.counter, [&](uint64_t token) { return c.qsbr.passed(token); });
}

// What an envelope is at the relay: nothing yet, or that of a call that it has.
struct Judged {
  CallReason reason = CallReason::kAuthorized;
  uint32_t retry_ms = 0;
  CallRecord* record = nullptr;  // the open or parked call whose very envelope this is
};

// `parked`: its issue was judged when it came, and it has waited since.
CallReason judge_time(const Context& c, const Envelope& e, bool parked) noexcept {
  const int64_t now_ms = unix_ms_of(c);
  const auto issued = static_cast<int64_t>(e.issued_ms);
  const int64_t skew = c.options.calls.skew_ms;
  if (!parked && issued - now_ms > skew) return CallReason::kNotYetValid;
  if ((!parked && now_ms - issued > skew) || now_ms >= static_cast<int64_t>(e.expires_ms)) {
    return CallReason::kExpiredMessage;
  }
  return CallReason::kAuthorized;
}

// The message id and the key were not used before.
CallReason judge_uses(const Context& c, const fabric::Agent& agent, const Envelope& e,
                      uint64_t tag) noexcept {
  if (e.epoch != c.arena.relay().epoch ||
      agent.calls.check(e.counter) != fabric::ReplayVerdict::kFresh) {
    return CallReason::kReplayed;
  }
  const uint32_t page = agent.call_page.load(std::memory_order_relaxed);
  if (page != kNone &&
      fabric::IdempotencyKeys(c.arena.keys(page), c.arena.sizes().keys_each).contains(tag, c.now)) {
    return CallReason::kDuplicateIdempotencyKey;
  }
  return CallReason::kAuthorized;
}

CallReason judge_rights(const Context& c, const fabric::Edge& edge, const Envelope& e,
                        uint32_t credential, uint32_t& retry_ms) noexcept {
  if (!rights_cover(c, edge, e)) return CallReason::kMissingScope;
  if (edge.right == kReplyOnly || !has_bit(edge.capabilities, e.capability)) {
    return CallReason::kCapabilityNotAllowed;
  }
  if (!has_bit(edge.protocols, e.protocol)) return CallReason::kProtocolNotAllowed;
  if (c.now >= edge.window_until.load(std::memory_order_relaxed)) {
    retry_ms = opens_in_ms(c, edge);
    return CallReason::kOutsideWindow;
  }
  if (is_slot(credential) && !within_window(c.tables.credential_slots[credential], c.now)) {
    const uint64_t opens =
        c.tables.credential_slots[credential].opens_at.load(std::memory_order_relaxed);
    retry_ms = ms_until(c, opens);
    return CallReason::kOutsideWindow;
  }
  return CallReason::kAuthorized;
}

// Limits, and room for one more call. Spends rate tokens where they have not been spent yet.
CallReason judge_limits(Context& c, Slot& s, const Envelope& e, uint64_t tag, uint32_t credential,
                        uint32_t& retry_ms) noexcept {
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  const fabric::Edge& edge = c.tables.edges[s.edge];
  if (!circuit_closed(c, edge, retry_ms)) return CallReason::kCircuitOpen;
  const uint32_t label = load_le<uint32_t>(s.outer + wire::kDataRegion + 4);
  if (crowded(c, edge, agent, label)) return CallReason::kRateLimited;
  if (s.verdict == Verdict::kNone && !charge_open(c, s, bytes_before(c, credential), retry_ms))
    return CallReason::kRateLimited;
  if (!within_quota(c, edge, retry_ms)) return CallReason::kQuotaExhausted;
  if (!has_room(c, agent, e, tag)) return CallReason::kIdempotencyTableFull;
  return CallReason::kAuthorized;
}

// All but the signature and the approval.
Judged judge(Context& c, Slot& s, const wire::FrameHeader& f, const Envelope& e,
             uint64_t tag) noexcept {
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  const fabric::Edge& edge = c.tables.edges[s.edge];
  const fabric::RelayRecord& relay = c.arena.relay();
  const bool parked = s.approval != Approval::kNone;
  const auto is = [](CallReason r) { return Judged{.reason = r}; };
  if (!belongs_here(c, s, f, e)) return is(CallReason::kMalformedEnvelope);
  if (c.tables.agents[edge.target].state.load(std::memory_order_acquire) !=
      uint32_t(fabric::AgentState::kActive)) {
    return is(CallReason::kRevoked);
  }
  // Another grant than the one in force: what it gave may have been taken back.
  if (e.grant != edge.grant) return is(CallReason::kRevoked);
  if (e.tenant != agent.tenant) return is(CallReason::kWrongTenant);
  if (all_zero(Bytes(e.trace)) || all_zero(Bytes(e.idempotency))) {
    return is(CallReason::kMissingTraceOrIdempotency);
  }
  if (e.audience != c.tables.agents[edge.target].address) return is(CallReason::kWrongAudience);
  if (const uint32_t page = agent.call_page.load(std::memory_order_relaxed);
      page != kNone && !parked) {
    CallRecord* there = c.arena.calls(page).find(f.call_id, f.label);
    if (there == nullptr) there = c.arena.calls(page).find_parked(f.call_id, f.label);
    if (there != nullptr && std::memcmp(&there->envelope, &e, sizeof e) == 0) {
      return {.reason = CallReason::kReplayed, .record = there};
    }
  }
  const uint32_t credential = credential_of(c.tables, edge, e.protocol);
  Judged out{.reason = judge_time(c, e, parked)};
  if (out.reason == CallReason::kAuthorized && !parked) out.reason = judge_uses(c, agent, e, tag);
  if (out.reason == CallReason::kAuthorized) {
    out.reason = judge_rights(c, edge, e, credential, out.retry_ms);
  }
  if (out.reason != CallReason::kAuthorized) return out;
  if (c.now >= relay.calls_stale_at.load(std::memory_order_relaxed)) {
    return is(CallReason::kControlStale);
  }
  if (!parked) out.reason = judge_limits(c, s, e, tag, credential, out.retry_ms);
  if (out.reason != CallReason::kAuthorized) return out;
  if (credential == fabric::kCredentialUnavailable) {
    return is(CallReason::kCredentialUnavailable);
  }
  const uint32_t audited = relay.audited.load(std::memory_order_relaxed);
  if (audited == fabric::kCallsDenied ||
      (audited != fabric::kCallsCounted && !c.mailboxes.of(c.worker).audit->has_room(1))) {
    return is(CallReason::kAuditUnavailable);
  }
  return out;
}

// An agent whose calls fail one after the other is not listened to for the rest of its time.
bool denied_enough(const Context& c, fabric::Agent& agent) noexcept {
  if (c.now - agent.denials_since >= c.clock.ticks_from_ms(kDenialsMs)) {
    agent.denials_since = c.now;
    agent.denials = 0;
  }
  return agent.denials >= kDenials;
}

// The frame goes back to the caller as CALL_DENY.
void answer(Context& c, Slot& s, const Envelope& e, CallReason reason,
            uint32_t retry_after_ms) noexcept {
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  uint8_t* region = s.outer + wire::kDataRegion;
  wire::FrameHeader f = wire::read_frame(region);
  f.type = static_cast<uint8_t>(wire::FrameType::kCallDeny);
  f.extension_length = wire::kCallDenySize;
  const wire::CallDeny denial{e.epoch, e.counter, static_cast<uint16_t>(reason), 0, retry_after_ms};
  wire::write_frame(region, f);
  store_le(region + sizeof f, denial);
  s.size = static_cast<uint16_t>(wire::kDataMin + wire::kCallDenySize);
  s.edge = 0;  // the label is the caller's own
  const uint32_t current = agent.session.load(std::memory_order_acquire);
  const bool stands = current != kNone && can_send(c.tables.sessions[current], c.now);
  s.out_index = stands ? current : s.session_index;
  s.out = &c.tables.sessions[s.out_index];
  c.counters.denials.add(1);
  s.next = Next::kForward;
}

// Says so where the caller may be told, and within the rate of it.
void deny(Context& c, Slot& s, const Envelope& e, CallReason reason,
          uint32_t retry_after_ms = 0) noexcept {
  fabric::Agent& agent = c.tables.agents[s.session->agent];
  c.counters.calls[static_cast<size_t>(reason)].add(1);
  s.dead = DropReason::kNone;
  if (denied_enough(c, agent)) return s.die(DropReason::kCallDenied);
  ++agent.denials;
  // Those that are let through come first.
  if (c.mailboxes.of(c.worker).audit->has_room(fabric::kAuditSlots / 4)) {
    (void)c.mailboxes.of(c.worker).audit->put(decision_record(c, s, e, reason));
  }
  if (reason == CallReason::kNoEdge) return s.die(DropReason::kNoEdge);
  answer(c, s, e, reason, retry_after_ms);
}

void repeat(Context& c, Slot& s, const wire::FrameHeader& f, const Envelope& e,
            CallRecord& r) noexcept {
  if (c.now >= c.arena.relay().stale_at.load(std::memory_order_relaxed)) {
    return s.die(DropReason::kControlStale);
  }
  const fabric::Edge& edge = c.tables.edges[s.edge];
  if (c.now >= edge.window_until.load(std::memory_order_relaxed)) {
    return deny(c, s, e, CallReason::kOutsideWindow, opens_in_ms(c, edge));
  }
  if (r.repeats >= kMostRepeats) return s.die(DropReason::kCallRepeated);
  const uint32_t needs = credential_of(c.tables, edge, e.protocol);
  // Its target has what it needs once it has answered. One that knows nothing of the call, since it
  // began anew, does not take it up without.
  const bool answered = r.accepted.load(std::memory_order_relaxed) != 0;
  const uint32_t credential = answered ? fabric::kNoCredential : needs;
  // What cannot be had now is no denial: its target may have it already, and answer.
  if (credential == fabric::kCredentialUnavailable ||
      (is_slot(credential) && !within_window(c.tables.credential_slots[credential], c.now))) {
    return s.die(DropReason::kCredentialRoom);
  }
  if (is_slot(credential)) {
    if (s.verdict == Verdict::kNone) return wait_for_room(c, s, f);
    if (const DropReason why = charge_call(c, s, bytes_before(c, credential));
        why != DropReason::kNone) {
      return s.die(why);
    }
  }
  ++r.repeats;
  r.last = c.now;
  forward_call_frame(c, s, is_slot(credential));
  if (!s.at(Next::kForward)) return;
  if (is_slot(credential)) (void)add_credential(c, s, f, e.protocol);
  if (answered && needs != fabric::kNoCredential) mark_credentialed(s);
}

// Window, key, quota and record: from here on the call is open, or waits for an approval.
CallRecord& open_call(Context& c, const Slot& s, const wire::FrameHeader& f, const Envelope& e,
                      uint64_t tag, fabric::CallState state) noexcept {
  const uint32_t index = s.session->agent;
  fabric::Agent& agent = c.tables.agents[index];
  bool highest = false;
  (void)agent.calls.commit(e.counter, highest);
  uint32_t page = agent.call_page.load(std::memory_order_relaxed);
  const uint32_t slots = c.arena.sizes().keys_each;
  if (page == kNone) {
    page = c.calls->take_page();
    for (uint32_t i = 0; i < slots; ++i) c.arena.keys(page)[i] = {};
    c.arena.page_agent(page).store(index, std::memory_order_release);
    agent.call_page.store(page, std::memory_order_release);
  }
  const uint64_t left = e.expires_ms - static_cast<uint64_t>(unix_ms_of(c)) +
                        static_cast<uint64_t>(c.options.calls.skew_ms);
  *fabric::IdempotencyKeys(c.arena.keys(page), slots).room(tag, c.now) = {
      tag, c.now + c.clock.ticks_from_ms(left)};
  CallRecord& r = *c.arena.calls(page).room(e.counter);
  r.label = f.label;
  r.call_id = f.call_id;
  r.opened = r.last = agent.last_call = c.now;
  r.repeats = r.closed = 0;
  r.status = 0;
  for (fabric::Counter* n : {&r.packets, &r.bytes, &r.packets_back, &r.bytes_back}) n->set(0);
  r.accepted.store(0, std::memory_order_relaxed);
  r.closed_back.store(0, std::memory_order_relaxed);
  r.last_back.store(c.now, std::memory_order_relaxed);
  r.repeats_back = r.closes_back = 0;
  r.closes = 0;
  r.envelope = e;
  count_open(c, c.tables.edges[wire::label_slot(f.label)], r);
  r.state.store(uint32_t(state), std::memory_order_release);
  ++agent.open_calls;
  return r;
}

// Which of its agent's calls control is to ask about.
uint32_t place_of(const Context& c, const fabric::Agent& agent, const CallRecord& r) noexcept {
  return static_cast<uint32_t>(
      &r - &c.arena.calls(agent.call_page.load(std::memory_order_relaxed)).at(0));
}

void park(Context& c, Slot& s, const wire::FrameHeader& f, const Envelope& e,
          uint64_t tag) noexcept {
  const uint32_t index = s.session->agent;
  CallRecord& r = open_call(c, s, f, e, tag, fabric::CallState::kParked);
  if (!tell(c, fabric::Event::Kind::kParked, index, place_of(c, c.tables.agents[index], r))) {
    end_call(c, c.tables.agents[index], r, CallOutcome::kNone);
    return deny(c, s, e, CallReason::kApprovalDenied);
  }
  c.counters.calls_parked.add(1);
  deny(c, s, e, CallReason::kApprovalRequired);
}

// What control says of a parked call, as its CALL_OPEN. Everything but what the call has used up
// itself is looked at again.
void conclude(Context& c, Slot& s, const wire::FrameHeader& f, const Envelope& e) noexcept {
  fabric::Agent& agent = c.tables.agents[s.session->agent];
  const uint32_t page = agent.call_page.load(std::memory_order_relaxed);
  CallRecord* r = page == kNone ? nullptr : c.arena.calls(page).find_parked(f.call_id, f.label);
  if (r == nullptr || std::memcmp(&r->envelope, &e, sizeof e) != 0) {
    return s.die(DropReason::kStaleFrame);
  }
  Judged judged = judge(c, s, f, e, 0);
  if (judged.reason == CallReason::kAuthorized && s.approval == Approval::kRefused) {
    judged.reason = CallReason::kApprovalDenied;
  }
  if (judged.reason != CallReason::kAuthorized) {
    end_call(c, agent, *r, CallOutcome::kNone);
    return deny(c, s, e, judged.reason, judged.retry_ms);
  }
  if (s.verdict == Verdict::kNone &&
      is_slot(credential_of(c.tables, c.tables.edges[s.edge], e.protocol))) {
    return wait_for_room(c, s, f);
  }
  // A callee that is away may come back while the approval lasts; control asks again.
  forward_call_frame(c, s, true);
  if (!s.at(Next::kForward) || !add_credential(c, s, f, e.protocol)) return;
  r->opened = r->last = agent.last_call = c.now;
  r->repeats = 0;  // those while it waited are not those of an open call
  r->last_back.store(c.now, std::memory_order_relaxed);
  r->state.store(uint32_t(fabric::CallState::kOpen), std::memory_order_release);
  c.counters.calls[static_cast<size_t>(CallReason::kAuthorized)].add(1);
  (void)c.mailboxes.of(c.worker).audit->put(decision_record(c, s, e, CallReason::kAuthorized));
}

// The envelope of a call that the relay has, once more.
void again(Context& c, Slot& s, const wire::FrameHeader& f, const Envelope& e,
           CallRecord& r) noexcept {
  if (r.state.load(std::memory_order_relaxed) == uint32_t(fabric::CallState::kOpen)) {
    return repeat(c, s, f, e, r);
  }
  // The caller may have missed that it waits. No decision, and so no record.
  fabric::Agent& agent = c.tables.agents[s.session->agent];
  if (r.repeats >= kMostRepeats || denied_enough(c, agent)) {
    return s.die(DropReason::kCallRepeated);
  }
  ++r.repeats;
  ++agent.denials;
  answer(c, s, e, CallReason::kApprovalRequired, 0);
}

}  // namespace

void deny_closed(Context& c, Slot& s) noexcept {
  const Envelope e = envelope_of(s);
  const wire::FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
  // Of a label that is not the sender's nothing is said, nor looked at.
  if (s.dead == DropReason::kNoEdge) return deny(c, s, e, CallReason::kNoEdge);
  // A window is looked at where it stands in the order.
  if (s.dead == DropReason::kOutsideWindow) {
    s.dead = DropReason::kNone;
    return;
  }
  const bool good = belongs_here(c, s, f, e);
  deny(c, s, e, good ? CallReason::kRevoked : CallReason::kMalformedEnvelope);
}

void end_call(Context& c, fabric::Agent& caller, CallRecord& r, CallOutcome outcome) noexcept {
  judge_outcome(c, r, outcome);
  r.state.store(uint32_t(fabric::CallState::kEnded), std::memory_order_release);
  r.token = c.qsbr.start();
  --caller.open_calls;
}

void pass_open(Context& c, Slot& s) noexcept {
  // A copy: the frame may become its own denial.
  const Envelope e = envelope_of(s);
  const wire::FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
  if (s.approval != Approval::kNone) return conclude(c, s, f, e);
  const uint32_t index = s.session->agent;
  const uint64_t tag = tag_of(c, e, index);
  if (s.verdict == Verdict::kNone && c.tables.agents[index].waiting_opens != 0) {
    const auto waiting = c.calls->waiting.look_for(index, f);
    if (waiting.signed_frame != nullptr) {
      const Envelope first = envelope_of(*waiting.signed_frame);
      if (std::memcmp(&first, &e, sizeof e) == 0) return s.die(DropReason::kCallRepeated);
      return deny(c, s, e, CallReason::kReplayed);
    }
  }
  const Judged judged = judge(c, s, f, e, tag);
  if (judged.record != nullptr) return again(c, s, f, e, *judged.record);
  CallReason reason = judged.reason;
  if (reason == CallReason::kAuthorized && s.verdict == Verdict::kNone) {
    // No signature is verified for what would not be forwarded, or for who fails all the time.
    if (!can_reach(c, s)) return s.die(DropReason::kPeerOffline);
    if (denied_enough(c, c.tables.agents[index])) return s.die(DropReason::kCallDenied);
    return wait_for_signature(c, s, f);
  }
  if (reason == CallReason::kAuthorized && s.verdict == Verdict::kBad) {
    reason = CallReason::kBadSignature;
  }
  if (reason != CallReason::kAuthorized) return deny(c, s, e, reason, judged.retry_ms);
  if (needs_approval(c, c.tables.edges[s.edge], e)) return park(c, s, f, e, tag);
  // A peer that is away costs the caller nothing: the same envelope may be sent again.
  forward_call_frame(c, s, true);
  if (!s.at(Next::kForward) || !add_credential(c, s, f, e.protocol)) return;
  (void)open_call(c, s, f, e, tag, fabric::CallState::kOpen);
  c.counters.calls[static_cast<size_t>(CallReason::kAuthorized)].add(1);
  (void)c.mailboxes.of(c.worker).audit->put(decision_record(c, s, e, CallReason::kAuthorized));
}

}  // namespace sluice::dataplane
