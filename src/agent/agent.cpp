#include "agent/agent.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/address.h"
#include "wire/ip.h"

namespace sluice::agent {
namespace {

constexpr size_t kRevocationsKept = 100;

}  // namespace

Agent::Agent(AgentConfig config, AgentHooks hooks)
    : config_(std::move(config)),
      hooks_(std::move(hooks)),
      tunnel_key_(crypto::X25519KeyPair::generate()),
      tunnel_(TunnelConfig{{config_.identity, &tunnel_key_, config_.relay_key, config_.token},
                           config_.relay_name,
                           config_.random},
              TunnelHooks{hooks_.send,
                          [this](const auto& frame, MutBytes payload, Now now) {
                            on_frame(frame, payload, now);
                          },
                          [this](const SessionStart& start, Now now) {
                            if (start.new_epoch) forget_labels();
                            note_relay_key();
                            calls_.connected(start.welcome.relay_epoch,
                                             VirtualAddress::from_u64(start.welcome.address));
                            if (start.rekey) return;
                            trust_.connected(VirtualAddress::from_u64(start.welcome.address),
                                             peer_time(now));
                            hooks_.report(
                                Level::kInfo,
                                fmt::format(
                                    "connected to {} as {}", config_.relay_name,
                                    to_string(VirtualAddress::from_u64(start.welcome.address))));
                          },
                          hooks_.report,
                          [this](const auto& welcome, const auto& keys, Now now) {
                            log_keys(welcome, keys, now);
                          }}),
      control_(config_.relay_id, *config_.pins,
               ControlHooks{[this](uint64_t request, Bytes message) {
                              tunnel_.send_frame(
                                  {uint8_t(wire::FrameType::kControl), 0,
                                   static_cast<uint16_t>(message.size()), 0, request},
                                  message, now_);
                            },
                            [this](std::vector<PeerEdge> edges) { on_edges(std::move(edges)); },
                            [this](const Revocation& r) { on_revoked(r); },
                            [this](const RelayKeyPin& pin) { tunnel_.use_relay_key(pin); },
                            [this](uint64_t request, const pb::Control& message) {
                              return trust_.receive(request, message, peer_time(now_));
                            },
                            hooks_.report}),
      trust_(TrustParty{config_.identity, config_.e2e_key, config_.relay_id, config_.name},
             *config_.pins,
             TrustHooks{[this](uint64_t request, Bytes message) {
                          return tunnel_.up(now_) &&
                                 tunnel_.send_frame(
                                     {uint8_t(wire::FrameType::kControl), 0,
                                      static_cast<uint16_t>(message.size()), 0, request},
                                     message, now_);
                        },
                        hooks_.report},
             config_.random),
      calls_(config_.identity, call_hooks(), config_.random) {
  if (config_.pins->relay_key) tunnel_.use_relay_key(*config_.pins->relay_key);
}

void Agent::start(Now now) {
  now_ = now;
  tunnel_.start(now);
}

void Agent::receive(MutBytes datagram, Now now) {
  now_ = now;
  tunnel_.receive(datagram, now);
}

void Agent::tick(Now now) {
  now_ = now;
  tunnel_.tick(now);
  trust_.tick(peer_time(now));
  for (auto& [identity, peer] : peers_) {
    if (peer.session) peer.session->tick(peer_time(now));
  }
  calls_.tick(peer_time(now));
}

void Agent::pump(Now now) {
  now_ = now;
  calls_.pump(peer_time(now));
}

uint64_t Agent::deadline(Now now) const {
  uint64_t at = std::min(tunnel_.deadline(now), trust_.deadline());
  for (const auto& [identity, peer] : peers_) {
    if (peer.session) at = std::min(at, peer.session->deadline());
  }
  return std::min(at, calls_.deadline());
}

void Agent::path_changed(Now now) {
  now_ = now;
  tunnel_.path_changed(now);
}

void Agent::note_relay_key() {
  Pins& pins = *config_.pins;
  if (!tunnel_.relay_key_proven() || !pins.relay_key || pins.relay_key->replaced_until_ms == 0) {
    return;
  }
  pins.relay_key->replaced_until_ms = 0;
  pins.changed = true;
}

void Agent::identity_changed(Bytes token, Now now) {
  now_ = now;
  // Every session end to end, and every call, was that of the other identity.
  for (const auto& [identity, peer] : peers_) calls_.edge_ended(identity);
  peers_.clear();
  forget_labels();
  trust_.identity_changed(peer_time(now));
  tunnel_.restart(token, now);
}

void Agent::on_frame(const wire::FrameHeader& frame, MutBytes payload, Now now) {
  if (static_cast<wire::FrameType>(frame.type) == wire::FrameType::kControl) {
    return control_.receive(frame.call_id, payload, now.unix_ms);
  }
  const auto it = by_label_.find(frame.label);
  if (it == by_label_.end() || !it->second->session) {
    ++counters_.dropped_label;
    return;
  }
  Peer& peer = *it->second;
  switch (static_cast<wire::FrameType>(frame.type)) {
    case wire::FrameType::kDatagram:
      return peer.session->receive({}, payload, peer_time(now));
    case wire::FrameType::kCallData:
      if (!calls_.expects(peer.edge.identity, frame, peer_time(now))) return;
      return peer.session->receive(Carrier::call(frame.call_id, frame.flags), payload,
                                   peer_time(now));
    default:
      return calls_.receive(peer.edge, frame, payload, peer_time(now));
  }
}

// --- Edges -----------------------------------------------------------------------------------

void Agent::forget_labels() {
  by_label_.clear();
  for (auto& [identity, peer] : peers_) peer.labelled = false;
  control_.forget();
  trust_.forget();
}

// End-to-end sessions outlive the list that they came with, as long as the peer's key stays.
void Agent::on_edges(std::vector<PeerEdge> edges) {
  std::map<crypto::PublicKey, Peer> before = std::exchange(peers_, {});
  by_label_.clear();
  for (PeerEdge& edge : edges) {
    if (edge.identity == config_.identity->public_key()) continue;
    if (auto old = before.extract(edge.identity); !old.empty()) {
      Peer& was = old.mapped();
      if (!edge.usable() || was.edge.e2e_key != edge.e2e_key || was.edge.request != edge.request ||
          was.edge.grant != edge.grant) {
        calls_.edge_ended(edge.identity);
        was.session.reset();
      }
      peers_.insert(std::move(old));
    }
    Peer& peer = peers_[edge.identity];
    const bool newly_refused = !edge.usable() && peer.edge.refused != edge.refused;
    peer.edge = std::move(edge);
    peer.labelled = true;
    if (peer.edge.usable()) {
      by_label_[peer.edge.label] = &peer;
      if (!peer.session) make_session(peer);
    } else if (newly_refused) {
      hooks_.report(Level::kError,
                    fmt::format("the edge to {} is not used: {}",
                                crypto::to_did(peer.edge.identity), peer.edge.refused));
    }
  }
  for (const auto& [identity, peer] : before) calls_.edge_ended(identity);
  std::vector<PeerEdge> list;
  for (const auto& [identity, peer] : peers_) list.push_back(peer.edge);
  trust_.check(list, peer_time(now_));
}

void Agent::make_session(Peer& peer) {
  const std::string name =
      peer.edge.name.empty() ? crypto::to_did(peer.edge.identity) : peer.edge.name;
  // Nodes of the map stay where they are, so the session may refer to its own peer.
  Peer* p = &peer;
  peer.session = std::make_unique<PeerSession>(
      PeerSessionConfig{config_.e2e_key, config_.identity->public_key(), peer.edge.identity,
                        peer.edge.e2e_key, peer.edge.request.value_or(ByteArray<32>{}),
                        peer.edge.grant.value_or(ByteArray<32>{}), name, config_.random},
      PeerSessionHooks{[this, p](const Carrier& c, Bytes message) {
                         const auto seal = p->edge.seal == SealPolicy::kHeader ? wire::Seal::kHeader
                                                                               : wire::Seal::kFull;
                         // The relay would drop it: only calls pass.
                         const bool passes = c.is_call() || !is_for_calls_alone(p->edge.right);
                         const bool sent =
                             p->labelled && passes &&
                             tunnel_.send_frame({c.frame, c.flags, 0, p->edge.label, c.call_id},
                                                message, now_, seal);
                         if (!sent) ++counters_.dropped_offline;
                       },
                       [this, p](Bytes data) {
                         ++counters_.messages_received;
                         hooks_.message(p->edge, data);
                       },
                       [this, p](uint64_t id) { hooks_.pong(p->edge.identity, id); },
                       [this, p](const Carrier* came_by) { return route(*p, came_by); },
                       [this, p](const Carrier& c, MessageKind kind, Bytes body) {
                         calls_.on_message(p->edge.identity, c, kind, body, peer_time(now_));
                       },
                       hooks_.report,
                       [this](const auto& keys, uint32_t initiator, uint32_t responder, Now now) {
                         log_keys(keys, initiator, responder, now);
                       },
                       [this, p](Bytes packet) {
                         if (!hooks_.ip) {
                           ++counters_.dropped_ip;
                           return;
                         }
                         hooks_.ip(p->edge, packet);
                       }});
}

// --- The key log -------------------------------------------------------------------------------

void Agent::log_keys(const wire::WelcomePayload& welcome, const SessionKeys& keys, Now now) {
  if (!hooks_.keys) return;
  hooks_.keys({crypto::KeyLogKind::kTunnel,
               now.unix_ms,
               {welcome.sender, keys.send.clone(), keys.send_salt},
               {welcome.receiver, keys.receive.clone(), keys.receive_salt}});
}

void Agent::log_keys(const crypto::NoiseKeys& keys, uint32_t initiator, uint32_t responder,
                     Now now) {
  if (!hooks_.keys) return;
  hooks_.keys({crypto::KeyLogKind::kEndToEnd,
               now.unix_ms,
               {responder, keys.initiator_to_responder.clone(), {}},
               {initiator, keys.responder_to_initiator.clone(), {}}});
}

void Agent::on_revoked(const Revocation& r) {
  const bool known = std::any_of(revocations_.begin(), revocations_.end(), [&](const auto& old) {
    return old.identity == r.identity && old.issued_ms == r.issued_ms;
  });
  if (known) return;
  if (revocations_.size() >= kRevocationsKept) revocations_.erase(revocations_.begin());
  revocations_.push_back(r);
  const bool own = r.identity == config_.identity->public_key();
  hooks_.report(Level::kWarn,
                fmt::format("the operator revoked {}{}{}", own ? "this agent, " : "",
                            crypto::to_did(r.identity), r.reason.empty() ? "" : ": " + r.reason));
  if (const auto it = peers_.find(r.identity); it != peers_.end() && it->second.session) {
    it->second.session->drop();
  }
}

const PeerEdge* Agent::edge(const crypto::PublicKey& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? nullptr : &it->second.edge;
}

std::vector<const PeerEdge*> Agent::edges() const {
  std::vector<const PeerEdge*> out;
  for (const auto& [identity, peer] : peers_) out.push_back(&peer.edge);
  return out;
}

const PeerSession* Agent::session(const crypto::PublicKey& peer) const {
  const auto it = peers_.find(peer);
  return it == peers_.end() ? nullptr : it->second.session.get();
}

Result<crypto::PublicKey> Agent::find(std::string_view text, Now now) const {
  const auto edge = find_edge(text, now);
  if (!edge) return tl::unexpected(edge.error());
  if (!(*edge)->usable()) {
    return fail(ErrorCode::kRefused,
                fmt::format("the edge to {} is not used: {}", text, (*edge)->refused));
  }
  return (*edge)->identity;
}

Result<const PeerEdge*> Agent::find_edge(std::string_view text, Now now) const {
  const auto did = crypto::parse_did(text);
  const auto address = parse_virtual_address(text);
  const PeerEdge* found = nullptr;
  for (const auto& [identity, peer] : peers_) {
    const PeerEdge& e = peer.edge;
    const bool match = did ? identity == *did : address ? e.address == *address : e.name == text;
    if (!match) continue;
    if (found != nullptr) {
      return fail(ErrorCode::kConflict,
                  fmt::format("there are two peers named {}: {} and {}; name one by its DID", text,
                              crypto::to_did(found->identity), crypto::to_did(identity)));
    }
    found = &e;
  }
  if (found == nullptr) {
    if (!control_.synced()) {
      return fail(ErrorCode::kUnreachable,
                  tunnel_.up(now)
                      ? "the relay has not sent this agent's list of edges yet; try again shortly"
                      : fmt::format("there is no session with the relay {}; see: sluice-agent info",
                                    config_.relay_name));
    }
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no edge to \"{}\"; see: sluice-agent peers", text));
  }
  return found;
}

// --- Messages --------------------------------------------------------------------------------

size_t Agent::max_message() const {
  if (!tunnel_.welcome()) return 0;
  const size_t around = (ipv6_ ? wire::kIp6Size : wire::kIp4Size) + wire::kUdpSize +
                        wire::kDataMin + kMessageOverhead;
  const size_t mtu = tunnel_.welcome()->mtu;
  return mtu > around ? mtu - around : 0;
}

// The peer, if a frame could leave for it now.
Result<Agent::Peer*> Agent::reachable(const crypto::PublicKey& identity, Now now) {
  const auto it = peers_.find(identity);
  if (it == peers_.end() && !control_.synced()) {
    return fail(ErrorCode::kUnreachable, "the relay has not sent this agent's list of edges yet");
  }
  if (it == peers_.end()) return fail(ErrorCode::kNotFound, "the edge to the peer has ended");
  Peer& peer = it->second;
  if (!peer.session) return fail(ErrorCode::kRefused, "the edge is not used: " + peer.edge.refused);
  if (!tunnel_.up(now)) {
    return fail(ErrorCode::kUnreachable, fmt::format("there is no session with the relay {}; see: "
                                                     "sluice-agent info",
                                                     config_.relay_name));
  }
  if (!peer.labelled) {
    return fail(ErrorCode::kUnreachable,
                "the relay has restarted and has not sent this agent's "
                "list of edges yet; try again shortly");
  }
  return &peer;
}

Result<PeerSession::Sent> Agent::send(const crypto::PublicKey& identity, MessageKind kind,
                                      Bytes body, Now now) {
  now_ = now;
  const auto found = reachable(identity, now);
  if (!found) return tl::unexpected(found.error());
  Peer& peer = **found;
  if (is_for_calls_alone(peer.edge.right)) {
    return fail(ErrorCode::kRefused,
                peer.edge.right == Right::kReplyOnly
                    ? "the edge to the peer only lets this agent answer its calls"
                    : "the edge to the peer is for calls alone: use sluice-agent call");
  }
  if (body.size() > max_message()) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("a message of {} bytes is larger than the {} that fit in one packet on "
                            "the path to the relay",
                            body.size(), max_message()));
  }
  const auto sent = peer.session->send(kind, body, peer_time(now));
  if (sent != PeerSession::Sent::kFull && kind == MessageKind::kData) ++counters_.messages_sent;
  return sent;
}

}  // namespace sluice::agent
