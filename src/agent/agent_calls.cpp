// What the agent's calls need of its tunnel, its edges and its end-to-end sessions.
#include "agent/agent.h"

namespace sluice::agent {

// Where the edge takes DATAGRAMs, an answer to one is one. Otherwise a call carries what the
// session has to say; where there is none, the relay decides.
Carrier Agent::route(const Peer& peer, const Carrier* came_by) const {
  const bool datagram = came_by != nullptr && !came_by->is_call();
  if (datagram && peer.edge.right == Right::kMaySend) return {};
  return calls_.carrier_to(peer.edge.identity, came_by).value_or(Carrier{});
}

CallHooks Agent::call_hooks() {
  const auto session_of = [this](const crypto::PublicKey& peer) {
    const auto it = peers_.find(peer);
    return it == peers_.end() ? nullptr : it->second.session.get();
  };
  return {
      [this](const crypto::PublicKey& identity, const wire::FrameHeader& frame, Bytes extension) {
        const auto it = peers_.find(identity);
        wire::FrameHeader labelled = frame;
        const bool known = it != peers_.end() && it->second.labelled && it->second.session;
        if (known) labelled.label = it->second.edge.label;
        if (!known || !tunnel_.send_frame(labelled, extension, now_)) ++counters_.dropped_offline;
      },
      [this, session_of](const crypto::PublicKey& identity, bool ask) {
        PeerSession* s = session_of(identity);
        if (s == nullptr) return false;
        if (ask) s->want_keys(peer_time(now_));
        return s->ready(peer_time(now_));
      },
      [this, session_of](const crypto::PublicKey& identity, const Carrier& carrier,
                         MessageKind kind, Bytes body) {
        if (PeerSession* s = session_of(identity)) {
          s->send_call(carrier, kind, body, peer_time(now_));
        }
      },
      [session_of](const crypto::PublicKey& identity) {
        const PeerSession* s = session_of(identity);
        return s == nullptr ? 0 : s->counters().failures;
      },
      [this] { return hooks_.room(); },
      [this] { return max_message(); },
      [this] { return peer_time(now_); },
      [this](const crypto::PublicKey& identity, const wire::Envelope& e) {
        const PeerEdge* from = edge(identity);
        if (!hooks_.admit_call || from == nullptr) return AcceptStatus::kNotServed;
        return hooks_.admit_call(*from, e);
      },
      [this](Call& call) { return hooks_.call_user ? hooks_.call_user(call) : nullptr; },
      [this](Call& call) {
        if (hooks_.call_request) hooks_.call_request(call);
      },
      [this](const Call& call) {
        if (hooks_.call_cancelled) hooks_.call_cancelled(call);
      }};
}

Result<uint64_t> Agent::call(const crypto::PublicKey& identity, CallRequest request, Now now) {
  now_ = now;
  const auto peer = reachable(identity, now);
  if (!peer) return tl::unexpected(peer.error());
  return calls_.open((*peer)->edge, std::move(request), peer_time(now));
}

}  // namespace sluice::agent
