#include "agent/control_channel.h"

#include <set>

#include <fmt/format.h>

#include "control.pb.h"
#include "crypto/text.h"

namespace sluice::agent {

ControlChannel::ControlChannel(const ByteArray<32>& relay_id, Pins& pins, ControlHooks hooks)
    : relay_id_(relay_id), pins_(pins), hooks_(std::move(hooks)) {}

void ControlChannel::forget() {
  assembler_.reset();
  synced_ = false;
}

void ControlChannel::receive(uint64_t request, Bytes message, uint64_t unix_ms) {
  pb::Control control;
  if (!control.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    hooks_.report(Level::kWarn, "the relay sent a control message that cannot be read");
    return;
  }
  if (control.has_ack()) return;  // nothing that we send asks for one
  switch (control.body_case()) {
    case pb::Control::kEdgeSync:
      on_edges(control.edge_sync());
      break;
    case pb::Control::kOperatorKey:
      on_operator_key(control.operator_key().key());
      break;
    case pb::Control::kRevoked:
      on_revoked(control.revoked(), unix_ms);
      break;
    case pb::Control::kRelayKey:
      if (!on_relay_key(control.relay_key())) return;
      break;
    default:
      // Newer than this agent: acknowledged, or the relay would repeat it for ever.
      if (hooks_.other && !hooks_.other(request, control)) return;
  }
  pb::Control answer;
  answer.mutable_ack();
  hooks_.send(request, as_bytes(answer.SerializeAsString()));
}

void ControlChannel::on_edges(const pb::EdgeSync& sync) {
  auto added = assembler_.add(sync);
  if (!added) return hooks_.report(Level::kWarn, added.error().message);
  if (!*added) return;
  std::vector<PeerEdge> edges;
  std::set<crypto::PublicKey> seen;
  for (const std::string& bytes : **added) {
    pb::Edge edge;
    if (!edge.ParseFromString(bytes)) continue;
    auto verified = verify_edge(edge, relay_id_, pins_);
    if (!verified || !seen.insert(verified->identity).second) {
      hooks_.report(Level::kWarn,
                    "the relay's list of edges has an entry that names no peer, or one "
                    "twice; ignored");
      continue;
    }
    edges.push_back(std::move(*verified));
  }
  synced_ = true;
  hooks_.edges(std::move(edges));
}

void ControlChannel::on_operator_key(const std::string& key) {
  if (key.size() != 32) return hooks_.report(Level::kWarn, "the relay's operator key is not a key");
  const auto offered = take<32>(as_bytes(key).data());
  if (!pins_.operator_key) {
    pins_.operator_key = offered;
    pins_.changed = true;
    return hooks_.report(Level::kInfo, fmt::format("the operator's key is {}; pinned from now on",
                                                   crypto::to_did(offered)));
  }
  if (*pins_.operator_key == offered || refused_operator_key_ == key) return;
  refused_operator_key_ = key;
  hooks_.report(Level::kError,
                fmt::format("the relay names another operator key, {}, than the pinned {}: not "
                            "believed; ask the operator, by another way, whether it has changed",
                            crypto::to_did(offered), crypto::to_did(*pins_.operator_key)));
}

// False: it is to come again.
bool ControlChannel::on_relay_key(const pb::Signed& told) {
  if (!pins_.operator_key) return false;
  pb::Statement statement;
  if (auto ok = verify_signed(told, relay_id_, pins_.operator_key, statement); !ok) {
    hooks_.report(Level::kError, fmt::format("a new key that the relay names is not used: {}",
                                             ok.error().message));
    return true;
  }
  const pb::RelayKey& body = statement.relay_key_change();
  if (!statement.has_relay_key_change() || body.key().size() != 32 ||
      body.replaced().size() != 32 || all_zero(as_bytes(body.key()))) {
    hooks_.report(Level::kWarn, "a statement about the relay's key names none; nothing done");
    return true;
  }
  // The later issued holds: a key that was replaced does not come back.
  if (pins_.relay_key && statement.issued_ms() <= pins_.relay_key->issued_ms) return true;
  const RelayKeyPin pin{take<32>(as_bytes(body.key()).data()),
                        take<32>(as_bytes(body.replaced()).data()), statement.issued_ms(),
                        body.replaced_until_ms()};
  if (!pins_.relay_key || pins_.relay_key->key != pin.key) {
    hooks_.report(Level::kInfo, fmt::format("the relay's key is {} from now on, as its operator "
                                            "signed",
                                            crypto::to_base64url(pin.key)));
  }
  pins_.relay_key = pin;
  pins_.changed = true;
  hooks_.relay_key(pin);
  return true;
}

void ControlChannel::on_revoked(const pb::Signed& notice, uint64_t unix_ms) {
  if (!pins_.operator_key) {
    return hooks_.report(Level::kWarn, "a revocation came before the operator's key; not believed");
  }
  pb::Statement statement;
  if (auto ok = verify_signed(notice, relay_id_, pins_.operator_key, statement); !ok) {
    return hooks_.report(Level::kError,
                         fmt::format("a revocation that the relay passed on cannot be "
                                     "verified: {}",
                                     ok.error().message));
  }
  if (!statement.has_trust_revoke() || statement.trust_revoke().identity().size() != 32) {
    return hooks_.report(Level::kWarn, "a revocation names no identity; nothing done");
  }
  const pb::TrustRevoke& body = statement.trust_revoke();
  hooks_.revoked(Revocation{take<32>(as_bytes(body.identity()).data()), statement.issued_ms(),
                            unix_ms, body.reason()});
}

}  // namespace sluice::agent
