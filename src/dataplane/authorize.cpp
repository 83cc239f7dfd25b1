// The frame inside, and whether it may go on. Everything that forwards loads the state of the edge
// and of both agents here, in the round that also seals and hands to the NIC: that load is the
// authorisation that a revocation takes away (docs/architecture.md, Revocation).
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
        if (s.from_endpoint || challenge_value(c, s.session_index, s.path, ago) != f.call_id)
          continue;
        session.endpoint.write(s.path);
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
  if (!session.endpoint.read(s.out_path)) return s.die(DropReason::kPeerOffline);
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

// Who owns the label, and whether the edge and both agents stand.
void over_edge(Context& c, Slot& s, const FrameHeader& f) noexcept {
  const auto edges = c.arena.edges();
  const uint32_t slot = wire::label_slot(f.label);
  if (slot >= edges.size()) return s.die(DropReason::kNoEdge);
  fabric::Edge& edge = edges[slot];
  const uint32_t state = edge.state.load(std::memory_order_acquire);
  if (state == uint32_t(EdgeState::kFree) || edge.source != s.session->agent ||
      edge.generation != wire::label_generation(f.label)) {
    return s.die(DropReason::kNoEdge);
  }
  fabric::Agent& target = c.arena.agents()[edge.target];
  if (state != uint32_t(EdgeState::kOpen) || !active(target) ||
      c.now >= edge.window_until.load(std::memory_order_relaxed)) {
    return s.die(DropReason::kRevoked);
  }
  if (static_cast<FrameType>(f.type) != FrameType::kDatagram) return s.die(DropReason::kNoCall);
  if (edge.right == kReplyOnly) return s.die(DropReason::kRight);

  const uint32_t out = target.session.load(std::memory_order_acquire);
  if (out == fabric::kNone) return s.die(DropReason::kPeerOffline);
  fabric::Session& session = c.arena.sessions()[out];
  if (session.state.load(std::memory_order_acquire) != uint32_t(fabric::SessionState::kConfirmed) ||
      c.now >= session.expires || !session.endpoint.read(s.out_path)) {
    return s.die(DropReason::kPeerOffline);
  }
  if (size_t{s.size} + s.out_path.size - wire::kEthSize > c.ports[s.out_path.port].mtu) {
    return s.die(DropReason::kMtu);
  }
  s.out = &session;
  s.out_index = out;
  s.edge = &edge;
  s.agents_data = true;
  s.next = Next::kForward;
}

void authorize_one(Context& c, Slot& s) noexcept {
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
  if (!active(c.arena.agents()[s.session->agent])) return s.die(DropReason::kRevoked);
  switch (static_cast<FrameType>(f.type)) {
    case FrameType::kKeepalive:
      return keepalive(c, s, f);
    case FrameType::kControl:
      if (!control_allowed(c, *s.session)) return s.die(DropReason::kControlRate);
      s.punt = fabric::ParcelKind::kFrame;
      s.next = Next::kPunt;
      return;
    default:
      return over_edge(c, s, f);
  }
}

}  // namespace

void authorize(Context& c, Burst& b) noexcept {
  for (Slot& s : b) {
    if (s.at(Next::kFrame)) authorize_one(c, s);
  }
}

}  // namespace sluice::dataplane
