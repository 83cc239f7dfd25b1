#include "agent/control_channel.h"

#include <set>

#include <fmt/format.h>

#include "control.pb.h"

namespace sluice::agent {

ControlChannel::ControlChannel(const ByteArray<32>& relay_key, Pins& pins, ControlHooks hooks)
    : relay_key_(relay_key), pins_(pins), hooks_(std::move(hooks)) {}

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
    auto verified = verify_edge(edge, relay_key_, pins_);
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

void ControlChannel::on_revoked(const pb::Signed& notice, uint64_t unix_ms) {
  if (!pins_.operator_key) {
    return hooks_.report(Level::kWarn, "a revocation came before the operator's key; not believed");
  }
  pb::Statement statement;
  if (auto ok = verify_signed(notice, relay_key_, pins_.operator_key, statement); !ok) {
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
