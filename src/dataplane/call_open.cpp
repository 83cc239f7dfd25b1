// The decision on a CALL_OPEN: the checks of docs/protocol.md §7 in their order, twice. They only
// read (and spend rate tokens) when the frame arrives, so that whoever fails has cost no signature;
// they are made again, and what they rest on is used up, once the signature is known to hold.
#include <rte_mbuf.h>

#include "crypto/hash.h"
#include "dataplane/call_steps.h"

namespace sluice::dataplane {
namespace {

using fabric::CallRecord;
using fabric::DropReason;
using fabric::kNone;
using wire::CallReason;
using wire::Envelope;

constexpr int64_t kMostSkewMs = 30'000;
constexpr uint64_t kLongestLifeMs = 300'000;
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
         e.expires_ms - e.issued_ms <= kLongestLifeMs &&
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

CallReason judge_time(int64_t now_ms, const Envelope& e) noexcept {
  const auto issued = static_cast<int64_t>(e.issued_ms);
  if (issued - now_ms > kMostSkewMs) return CallReason::kNotYetValid;
  if (now_ms - issued > kMostSkewMs || now_ms >= static_cast<int64_t>(e.expires_ms)) {
    return CallReason::kExpiredMessage;
  }
  return CallReason::kAuthorized;
}

// All but the signature; the rates where they have not been charged yet. `repeated`: the open call
// whose very envelope this is.
CallReason judge(Context& c, Slot& s, const wire::FrameHeader& f, const Envelope& e, uint64_t tag,
                 CallRecord*& repeated) noexcept {
  const fabric::Agent& agent = c.tables.agents[s.session->agent];
  const fabric::Edge& edge = c.tables.edges[s.edge];
  const fabric::RelayRecord& relay = c.arena.relay();
  if (!belongs_here(c, s, f, e)) return CallReason::kMalformedEnvelope;
  if (c.tables.agents[edge.target].state.load(std::memory_order_acquire) !=
      uint32_t(fabric::AgentState::kActive)) {
    return CallReason::kRevoked;
  }
  // Another grant than the one in force: what it gave may have been taken back.
  if (e.grant != edge.grant) return CallReason::kRevoked;
  if (e.tenant != agent.tenant) return CallReason::kWrongTenant;
  if (all_zero(Bytes(e.trace)) || all_zero(Bytes(e.idempotency))) {
    return CallReason::kMissingTraceOrIdempotency;
  }
  if (e.audience != c.tables.agents[edge.target].address) return CallReason::kWrongAudience;
  const uint32_t page = agent.call_page.load(std::memory_order_relaxed);
  CallRecord* open = page == kNone ? nullptr : c.arena.calls(page).find(f.call_id, f.label);
  if (open != nullptr && std::memcmp(&open->envelope, &e, sizeof e) == 0) {
    repeated = open;
    return CallReason::kReplayed;
  }
  if (const CallReason r = judge_time(unix_ms_of(c), e); r != CallReason::kAuthorized) return r;
  if (e.epoch != relay.epoch || agent.calls.check(e.counter) != fabric::ReplayVerdict::kFresh) {
    return CallReason::kReplayed;
  }
  if (page != kNone &&
      fabric::IdempotencyKeys(c.arena.keys(page), c.arena.sizes().keys_each).contains(tag, c.now)) {
    return CallReason::kDuplicateIdempotencyKey;
  }
  if (!rights_cover(c, edge, e)) return CallReason::kMissingScope;
  if (edge.right == kReplyOnly || !has_bit(edge.capabilities, e.capability)) {
    return CallReason::kCapabilityNotAllowed;
  }
  if (!has_bit(edge.protocols, e.protocol)) return CallReason::kProtocolNotAllowed;
  if (c.now >= relay.calls_stale_at.load(std::memory_order_relaxed)) {
    return CallReason::kControlStale;
  }
  if (s.verdict == Verdict::kNone && charge_call(c, s) != DropReason::kNone) {
    return CallReason::kRateLimited;
  }
  if (!has_room(c, agent, e, tag)) return CallReason::kIdempotencyTableFull;
  if (relay.audited.load(std::memory_order_relaxed) == 0 ||
      !c.mailboxes.of(c.worker).audit->has_room(1)) {
    return CallReason::kAuditUnavailable;
  }
  return CallReason::kAuthorized;
}

// An agent whose calls fail one after the other is not listened to for the rest of its time.
bool denied_enough(const Context& c, fabric::Agent& agent) noexcept {
  if (c.now - agent.denials_since >= c.clock.ticks_from_ms(kDenialsMs)) {
    agent.denials_since = c.now;
    agent.denials = 0;
  }
  return agent.denials >= kDenials;
}

// The frame goes back as CALL_DENY where the caller may be told, and within the rate of it.
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
  uint8_t* region = s.outer + wire::kDataRegion;
  wire::FrameHeader f = wire::read_frame(region);
  f.type = static_cast<uint8_t>(wire::FrameType::kCallDeny);
  f.extension_length = wire::kCallDenySize;
  const wire::CallDeny answer{e.epoch, e.counter, static_cast<uint16_t>(reason), 0, retry_after_ms};
  wire::write_frame(region, f);
  store_le(region + sizeof f, answer);
  s.size = static_cast<uint16_t>(wire::kDataMin + wire::kCallDenySize);
  s.edge = 0;  // the label is the caller's own
  const uint32_t current = agent.session.load(std::memory_order_acquire);
  const bool stands = current != kNone && can_send(c.tables.sessions[current], c.now);
  s.out_index = stands ? current : s.session_index;
  s.out = &c.tables.sessions[s.out_index];
  c.counters.denials.add(1);
  s.next = Next::kForward;
}

void repeat(Context& c, Slot& s, CallRecord& r) noexcept {
  if (c.now >= c.arena.relay().stale_at.load(std::memory_order_relaxed)) {
    return s.die(DropReason::kControlStale);
  }
  if (r.repeats >= kMostRepeats) return s.die(DropReason::kCallRepeated);
  ++r.repeats;
  r.last = c.now;
  forward_call_frame(c, s, false);
}

// Window, key and record: from here on the call is open.
void open_call(Context& c, const Slot& s, const wire::FrameHeader& f, const Envelope& e,
               uint64_t tag) noexcept {
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
  const uint64_t left = e.expires_ms - static_cast<uint64_t>(unix_ms_of(c)) + kMostSkewMs;
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
  r.repeats_back = 0;
  r.envelope = e;
  r.state.store(uint32_t(fabric::CallState::kOpen), std::memory_order_release);
  ++agent.open_calls;
}

}  // namespace

void deny_closed(Context& c, Slot& s) noexcept {
  const Envelope e = envelope_of(s);
  const wire::FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
  // Of a label that is not the sender's nothing is said, nor looked at.
  if (s.dead == DropReason::kNoEdge) return deny(c, s, e, CallReason::kNoEdge);
  const bool good = belongs_here(c, s, f, e);
  deny(c, s, e, good ? CallReason::kRevoked : CallReason::kMalformedEnvelope);
}

void pass_open(Context& c, Slot& s) noexcept {
  // A copy: the frame may become its own denial.
  const Envelope e = envelope_of(s);
  const wire::FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
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
  CallRecord* repeated = nullptr;
  CallReason reason = judge(c, s, f, e, tag, repeated);
  if (repeated != nullptr) return repeat(c, s, *repeated);
  if (reason == CallReason::kAuthorized && s.verdict == Verdict::kNone) {
    // No signature is verified for what would not be forwarded, or for who fails all the time.
    if (!can_reach(c, s)) return s.die(DropReason::kPeerOffline);
    if (denied_enough(c, c.tables.agents[index])) return s.die(DropReason::kCallDenied);
    return wait_for_signature(c, s, f);
  }
  if (reason == CallReason::kAuthorized && s.verdict == Verdict::kBad) {
    reason = CallReason::kBadSignature;
  }
  if (reason != CallReason::kAuthorized) return deny(c, s, e, reason);
  // A peer that is away costs the caller nothing: the same envelope may be sent again.
  forward_call_frame(c, s, true);
  if (!s.at(Next::kForward)) return;
  open_call(c, s, f, e, tag);
  c.counters.calls[static_cast<size_t>(CallReason::kAuthorized)].add(1);
  (void)c.mailboxes.of(c.worker).audit->put(decision_record(c, s, e, CallReason::kAuthorized));
}

}  // namespace sluice::dataplane
