// The frame inside, and whether it may go on. Everything that forwards loads the state of the edge
// and of both agents here, in the round that also seals and hands to the NIC: that load is the
// authorisation that a revocation takes away (docs/architecture.md, Revocation).
#include "base/prefetch.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::AgentState;
using fabric::DropReason;
using fabric::EdgeState;
using wire::FrameHeader;
using wire::FrameType;

constexpr uint8_t kReplyOnly = 3;

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
void read_other(Context& c, Slot& s, const FrameHeader& f) noexcept {
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

// Who owns the label, and whether the edge stands. Prefetches the peer.
void check_edge(const Tables& t, uint64_t now, Slot& s) noexcept {
  const uint32_t label = load_le<uint32_t>(s.outer + wire::kDataRegion + 4);
  s.edge = wire::label_slot(label);
  if (s.edge >= t.edge_count) return s.die(DropReason::kNoEdge);
  const fabric::Edge& edge = t.edges[s.edge];
  const uint32_t state = edge.state.load(std::memory_order_acquire);
  if (state == uint32_t(EdgeState::kFree) || edge.source != s.session->agent ||
      edge.generation != wire::label_generation(label)) {
    return s.die(DropReason::kNoEdge);
  }
  if (state != uint32_t(EdgeState::kOpen) ||
      now >= edge.window_until.load(std::memory_order_relaxed)) {
    return s.die(DropReason::kRevoked);
  }
  prefetch(&t.agents[edge.target]);
}

// Whether the peer stands, and on which session it is reached. Prefetches that.
void find_peer(const Tables& t, Slot& s) noexcept {
  const fabric::Edge& edge = t.edges[s.edge];
  const fabric::Agent& target = t.agents[edge.target];
  if (!active(target)) return s.die(DropReason::kRevoked);
  if (s.outer[wire::kDataRegion] != uint8_t(FrameType::kDatagram)) {
    return s.die(DropReason::kNoCall);
  }
  if (edge.right == kReplyOnly) return s.die(DropReason::kRight);
  if ((edge.seals >> s.header_seal & 1) == 0) return s.die(DropReason::kSealNotAllowed);
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
  const uint32_t slot = agent.tenant_slot.load(std::memory_order_acquire);
  fabric::TenantShare* share = slot == fabric::kNone ? nullptr : &t.shares[slot];
  if (share != nullptr) {
    share->offered_packets.add(1);
    share->offered_bytes.add(bytes);
  }
  if (!edge.bucket.conforms(now)) return DropReason::kEdgeRate;
  if (!agent.bucket.conforms(now)) return DropReason::kAgentRate;
  if (share != nullptr) {
    if (!share->bucket.conforms(now)) return DropReason::kTenantRate;
    share->bucket.charge(now, bytes);
  }
  edge.bucket.charge(now, bytes);
  agent.bucket.charge(now, bytes);
  return DropReason::kNone;
}

void grant(const Tables& t, uint64_t now, Slot& s) noexcept {
  const fabric::Session& out = *s.out;
  if (out.state.load(std::memory_order_acquire) != uint32_t(fabric::SessionState::kConfirmed) ||
      now >= out.expires) {
    return s.die(DropReason::kPeerOffline);
  }
  fabric::Edge& edge = t.edges[s.edge];
  if (const DropReason r = charge(t, now, edge, t.agents[edge.source], s.size);
      r != DropReason::kNone) {
    return s.die(r);
  }
  s.next = Next::kForward;
}

}  // namespace

void authorize(Context& c, Burst& b) noexcept {
  const Tables t = c.tables;
  const uint64_t now = c.now;
  for (Slot& s : b) {
    if (!s.at(Next::kFrame)) continue;
    const FrameHeader f = wire::read_frame(s.outer + wire::kDataRegion);
    // A DATAGRAM's first word and call id leave no choice; everything else is rare.
    const bool datagram =
        load_le<uint32_t>(s.outer + wire::kDataRegion) == uint32_t(FrameType::kDatagram) &&
        f.call_id == 0;
    if (!datagram) {
      read_other(c, s, f);
    } else if (!active(t.agents[s.session->agent])) {
      s.die(DropReason::kRevoked);
    }
    if (s.at(Next::kFrame)) check_edge(t, now, s);
  }
  for (Slot& s : b) {
    if (s.at(Next::kFrame)) find_peer(t, s);
  }
  for (Slot& s : b) {
    if (s.at(Next::kFrame)) grant(t, now, s);
  }
}

}  // namespace sluice::dataplane
