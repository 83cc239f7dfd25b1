#include "control/store_feed.h"

namespace sluice::control {
namespace {

constexpr std::string_view kChangesForgotten = "changes_forgotten";

FeedName named(const AgentRow& r) {
  return {"agent_enrolled", to_buffer(r.identity)};
}
FeedName named(const AgentUpdate& u) {
  return {"agent_updated", to_buffer(u.identity)};
}
FeedName named(const RevocationRow& r) {
  return {"agent_revoked", to_buffer(r.identity)};
}
FeedName named(const TenantRow& r) {
  ByteArray<2> id;
  store_le(id.data(), r.id);
  return {"tenant_added", to_buffer(id)};
}
FeedName named(const TokenRow& r) {
  return {"token_created", to_buffer(r.hash)};
}
FeedName named(const TokenUse& u) {
  return {"token_used", to_buffer(u.hash), to_buffer(u.identity)};
}
FeedName named(const TokenEnd& e) {
  return {"token_ended", to_buffer(e.hash)};
}
FeedName named(const RequestRow& r) {
  return {"trust_requested", to_buffer(r.requester), to_buffer(r.receiver)};
}
FeedName named(const RequestEnd& e) {
  const char* kind = e.state == RequestState::kGranted    ? "request_granted"
                     : e.state == RequestState::kRejected ? "request_rejected"
                                                          : "request_expired";
  return {kind, to_buffer(e.digest)};
}
FeedName named(const ConsentRow& r) {
  ByteArray<2> id;
  store_le(id.data(), r.tenant);
  return {"request_consented", to_buffer(r.request), to_buffer(id)};
}
FeedName named(const PolicyRow& r) {
  ByteArray<8> number;
  store_le(number.data(), r.number);
  return {"policy_applied", to_buffer(number)};
}
FeedName named(const RelayKeyRow& r) {
  return {"relay_key_replaced", to_buffer(r.key), to_buffer(r.replaced)};
}
FeedName named(const RelayKeyRetired& r) {
  return {"relay_key_retired", to_buffer(r.replaced)};
}
FeedName named(const RotationRow& r) {
  return {"identity_rotated", to_buffer(r.former), to_buffer(r.successor)};
}
FeedName named(const PairRow& r) {
  return {"pair_made", to_buffer(r.requester), to_buffer(r.approver)};
}
FeedName named(const PairEnd& e) {
  return {e.revoked ? "pair_revoked" : "pair_ended", to_buffer(e.request)};
}
FeedName named(const AuditCheckpointRow&) {
  return {};
}
FeedName named(const AuditKnown&) {
  return {};
}
FeedName named(const ScopeNameRow&) {
  return {};
}
FeedName named(const QuotaUseRow&) {
  return {};
}
Buffer number(uint64_t n) {
  Buffer out(8);
  store_le(out.data(), n);
  return out;
}

FeedName named(const VaultMasterSet& s) {
  return {s.master.number == 1 ? "vault_made" : "vault_master_replaced", number(s.master.number)};
}
FeedName named(const VaultKeyAdded& a) {
  return {"vault_key_added", number(a.key.number)};
}
FeedName named(const VaultKeyWrapped&) {
  return {};
}
FeedName named(const VaultKeyRemoved& r) {
  return {"vault_key_removed", number(r.number)};
}
FeedName named(const CredentialRow& r) {
  return {"credential_set", number(r.id), to_buffer(as_bytes(r.name))};
}
FeedName named(const CredentialSealed&) {
  return {};
}
FeedName named(const CredentialEnd& e) {
  return {"credential_deleted", number(e.id), to_buffer(as_bytes(e.name))};
}
FeedName named(const BindingRow& r) {
  return {"credential_bound", to_buffer(r.identity), number(r.id)};
}
FeedName named(const BindingSealed&) {
  return {};
}
FeedName named(const BindingEnd& e) {
  return {"credential_unbound", to_buffer(e.identity), number(e.id)};
}
FeedName named(const AuditForgotten& f) {
  ByteArray<8> size;
  store_le(size.data(), f.size);
  return {"audit_log_forgotten", to_buffer(size), to_buffer(f.root)};
}
FeedName named(const ChangesForgotten& f) {
  ByteArray<8> kept, forgotten;
  store_le(kept.data(), f.kept);
  store_le(forgotten.data(), f.forgotten);
  return {kChangesForgotten, to_buffer(kept), to_buffer(forgotten)};
}

}  // namespace

FeedName feed_name(const Change& change) {
  return std::visit([](const auto& c) { return named(c); }, change);
}

audit::Change audit_change(const FeedEntry& e) {
  return {.sequence = e.sequence,
          .at_ms = e.at_ms,
          .actor = e.actor,
          .kind = e.kind,
          .subject = e.subject,
          .object = e.object};
}

std::optional<Forgotten> forgotten_by(const FeedEntry& e) {
  if (e.kind != kChangesForgotten || e.subject.size() != 8 || e.object.size() != 8) {
    return std::nullopt;
  }
  return Forgotten{load_le<uint64_t>(e.subject.data()), load_le<uint64_t>(e.object.data())};
}

}  // namespace sluice::control
