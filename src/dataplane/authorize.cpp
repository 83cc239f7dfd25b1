// The frame inside, and whether it may go on. Everything that forwards loads the state of the edge
// and of both agents here, in the round that also seals and hands to the NIC: that load is the
// authorisation that a revocation takes away (docs/architecture.md, Revocation).
#include "base/prefetch.h"
#include "dataplane/calls.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::AgentState;
using fabric::DropReason;
using fabric::EdgeState;
using wire::FrameHeader;
using wire::FrameType;

constexpr uint8_t kMaySend = 1;

bool active(const fabric::Agent& a) noexcept {
  return a.state.load(std::memory_order_acquire) == uint32_t(AgentState::kActive);
}

void keepalive(Context& c, Slot& s, const FrameHeader& f) noexcept {
  fabric::Session& session = *s.session;
  switch (static_cast<wire::KeepaliveFlag>(f.flags)) {
    case wire::KeepaliveFlag::kPlain:
      return s.die(DropReason::kKeepalive);
    case wire::KeepaliveFlag::kAnswer:
      for (unsigned ago : {0u, 1u}) {
        if (s.from_endpoint || challenge_value(c, s.session_index, s.path(), ago) != f.call_id)
          continue;
        session.set_endpoint(s.path());
        s.from_endpoint = true;
        c.counters.roamed.add(1);
      }
      return s.die(DropReason::kKeepalive);
    case wire::KeepaliveFlag::kPing:
      break;
  }
  // Once the next session is confirmed, nothing is sent on this one any more.
  if (const uint32_t current =
          c.arena.agents()[session.agent].session.load(std::memory_order_acquire);
      current != s.session_index &&
      session.state.load(std::memory_order_relaxed) == uint32_t(fabric::SessionState::kConfirmed)) {
    return s.die(DropReason::kKeepalive);
  }
  if (session.last_ping != 0 && c.now - session.last_ping < c.clock.hz()) {
    return s.die(DropReason::kPingRate);
  }
  session.last_ping = c.now;
  FrameHeader answer = f;
  answer.flags = uint8_t(wire::KeepaliveFlag::kAnswer);
  wire::write_frame(s.outer + wire::kDataRegion, answer);
  s.out = s.session;
  s.out_index = s.session_index;
  c.counters.responses.add(1);
  s.next = Next::kForward;
}

// CONTROL frames that one session may send to the control thread in a tenth of a second.
constexpr uint32_t kControlFrames = 64;

bool control_allowed(const Context& c, fabric::Session& session) noexcept {
  if (c.now - session.control_since >= c.clock.hz() / 10) {
    session.control_since = c.now;
    session.control_frames = 0;
  }
  return session.control_frames++ < kControlFrames;
}

// wire.md §3: only messages may leave their rest outside the seal.
bool may_be_header_sealed(uint8_t type) noexcept {
  return type == uint8_t(FrameType::kDatagram) || type == uint8_t(FrameType::kCallData);
}

// What does not go over an edge is dealt with here, and what is malformed.
[[gnu::noinline]] void read_other(Context& c, Slot& s) noexcept {
  const FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
  switch (wire::check_agent_frame(f, s.size - wire::kDataMin)) {
    case wire::FrameVerdict::kOk:
      break;
    case wire::FrameVerdict::kMalformed:
      return s.die(DropReason::kFrameMalformed);
    case wire::FrameVerdict::kNotFromAgent:
      return s.die(DropReason::kFrameNotAllowed);
    case wire::FrameVerdict::kUnknownType:
      return s.die(DropReason::kFrameUnknown);
  }
  if (s.header_seal && !may_be_header_sealed(f.type)) return s.die(DropReason::kFrameMalformed);
  if (!active(c.arena.agents()[s.session->agent])) return s.die(DropReason::kRevoked);
  switch (static_cast<FrameType>(f.type)) {
    case FrameType::kKeepalive:
      return keepalive(c, s, f);
    case FrameType::kControl:
      if (!control_allowed(c, *s.session)) return s.die(DropReason::kControlRate);
      s.next = Next::kPuntFrame;
      return;
    default:
      return;
  }
}

// Why an edge did not open to the packet that named it.
DropReason why_closed(uint64_t gate, uint64_t claimed) noexcept {
  constexpr uint64_t kState = 0xff;
  const bool theirs =
      (gate & kState) != uint64_t(EdgeState::kFree) && ((gate ^ claimed) & ~kState) == 0;
  return theirs ? DropReason::kRevoked : DropReason::kNoEdge;
}

// Who owns the label, and whether the edge stands. Prefetches the peer.
void check_edge(const Tables& t, uint64_t now, uint32_t source, Slot& s) noexcept {
  const uint32_t label = load_le<uint32_t>(s.outer + wire::kDataRegion + 4);
  const uint32_t slot = wire::label_slot(label);
  s.edge = slot;
  if (slot >= t.edge_count) return s.die(DropReason::kNoEdge);
  const fabric::Edge& edge = t.edges[slot];
  const uint64_t gate = edge.gate.load(std::memory_order_acquire);
  const uint64_t claimed =
      fabric::edge_gate(EdgeState::kOpen, wire::label_generation(label), source);
  if (gate != claimed) return s.die(why_closed(gate, claimed));
  if (now >= edge.window_until.load(std::memory_order_relaxed)) [[unlikely]] {
    const bool over = now >= edge.expires.load(std::memory_order_relaxed);
    s.die(over ? DropReason::kRevoked : DropReason::kOutsideWindow);
  }
  s.out_index = edge.target;
  prefetch(&t.agents[edge.target]);
}

bool is_type(const Slot& s, FrameType type) noexcept {
  return s.outer[wire::kDataRegion] == uint8_t(type);
}

// Of a DATAGRAM: whether the peer stands, what may be sent to it, on which session. Prefetches
// that.
void find_peer(const Tables& t, Slot& s) noexcept {
  const fabric::Agent& target = t.agents[s.out_index];
  if (!active(target)) return s.die(DropReason::kRevoked);
  const fabric::Edge& edge = t.edges[s.edge];
  if (edge.right != kMaySend) return s.die(DropReason::kRight);
  if ((edge.seals & (s.header_seal ? 2 : 1)) == 0) return s.die(DropReason::kSealNotAllowed);
  s.out_index = target.session.load(std::memory_order_acquire);
  if (s.out_index == fabric::kNone) return s.die(DropReason::kPeerOffline);
  s.out = &t.sessions[s.out_index];
  prefetch(s.out);
  prefetch(&s.out->endpoint);
  prefetch(&t.lanes[s.out_index]);
}

// Edge, agent and tenant: what conforms to all three is charged to all three, else to none.
DropReason charge(const Tables& t, uint64_t now, fabric::Edge& edge, fabric::Agent& agent,
                  uint32_t bytes) noexcept {
  fabric::Bucket::Level of_edge, of_agent, of_tenant;
  fabric::TenantShare* share = nullptr;
  if (const uint32_t slot = agent.tenant_slot.load(std::memory_order_acquire);
      slot != fabric::kNone) {
    share = &t.shares[slot];
    share->offered_packets.add(1);
    share->offered_bytes.add(bytes);
  }
  if (!edge.bucket.take(now, bytes, of_edge)) return DropReason::kEdgeRate;
  if (!agent.bucket.take(now, bytes, of_agent)) {
    edge.bucket.put_back(of_edge);
    return DropReason::kAgentRate;
  }
  if (share != nullptr && !share->bucket.take(now, bytes, of_tenant)) {
    edge.bucket.put_back(of_edge);
    agent.bucket.put_back(of_agent);
    return DropReason::kTenantRate;
  }
  return DropReason::kNone;
}

void grant(const Tables& t, uint64_t now, Slot& s) noexcept {
  if (!can_send(*s.out, now)) return s.die(DropReason::kPeerOffline);
  if (const DropReason r = charge(t, now, t.edges[s.edge], t.agents[s.session->agent], s.size);
      r != DropReason::kNone) {
    return s.die(r);
  }
  s.next = Next::kForward;
}

[[gnu::noinline, gnu::cold]] void refuse_all(Burst& b) noexcept {
  for (Slot& s : b) {
    // A call is told.
    if (s.at(Next::kFrame) && !is_type(s, FrameType::kCallOpen)) s.die(DropReason::kControlStale);
  }
}

}  // namespace

bool can_reach(const Context& c, const Slot& s) noexcept {
  const Tables& t = c.tables;
  const uint32_t session = t.agents[t.edges[s.edge].target].session.load(std::memory_order_acquire);
  return session != fabric::kNone && can_send(t.sessions[session], c.now);
}

void authorize(Context& c, Burst& b) noexcept {
  const Tables t = c.tables;
  const uint64_t now = c.now;
  for (Slot& s : b) {
    if (!s.at(Next::kFrame)) continue;
    const uint32_t source = s.session->agent;
    // A DATAGRAM's first word and call id leave no choice; everything else is rare.
    const uint8_t* frame = s.outer + wire::kDataRegion;
    if (load_le<uint32_t>(frame) != uint32_t(FrameType::kDatagram) ||
        load_le<uint64_t>(frame + 8) != 0) {
      read_other(c, s);
      if (!s.at(Next::kFrame)) continue;
      check_edge(t, now, source, s);
      if (s.alive()) {
        prefetch_caller(c, s);
      } else if (is_type(s, FrameType::kCallOpen)) {
        deny_closed(c, s);
      }
      continue;
    } else if (!active(t.agents[source])) {
      s.die(DropReason::kRevoked);
      continue;
    }
    check_edge(t, now, source, s);
  }
  if (now >= c.arena.relay().stale_at.load(std::memory_order_relaxed)) [[unlikely]] {
    refuse_all(b);
  }
  for (Slot& s : b) {
    if (!s.at(Next::kFrame)) continue;
    if (is_type(s, FrameType::kDatagram)) {
      find_peer(t, s);
    } else {
      prefetch_call(c, s);
    }
  }
  for (Slot& s : b) {
    if (!s.at(Next::kFrame)) continue;
    if (is_type(s, FrameType::kDatagram)) [[likely]] {
      grant(t, now, s);
    } else {
      pass_call_frame(c, s);
    }
  }
}

DropReason charge_call(Context& c, Slot& s, uint32_t before_it) noexcept {
  const Tables& t = c.tables;
  return charge(t, c.now, t.edges[s.edge], t.agents[s.session->agent], s.size + before_it);
}

void forward_call_frame(Context& c, Slot& s, bool charged) noexcept {
  const Tables& t = c.tables;
  const fabric::Agent& target = t.agents[t.edges[s.edge].target];
  if (!active(target)) return s.die(DropReason::kRevoked);
  s.out_index = target.session.load(std::memory_order_acquire);
  if (s.out_index == fabric::kNone) return s.die(DropReason::kPeerOffline);
  s.out = &t.sessions[s.out_index];
  if (!can_send(*s.out, c.now)) return s.die(DropReason::kPeerOffline);
  if (!charged) {
    if (const DropReason r = charge_call(c, s); r != DropReason::kNone) return s.die(r);
  }
  s.next = Next::kForward;
}

}  // namespace sluice::dataplane
