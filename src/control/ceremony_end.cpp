// Ending, expiring, consenting, and what agents are shown of it all.
#include <fmt/format.h>

#include "base/log.h"
#include "control/ceremony.h"
#include "control/ceremony_keys.h"
#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr uint64_t kExpiryMs = 250;
constexpr size_t kExpiriesAtOnce = 64;

}  // namespace

// --- Ending -------------------------------------------------------------------------------------

void Ceremony::cut(PairKey pair, const Agreement& agreement, Digest digest, Buffer statement,
                   const std::string& reason, const std::string& actor, Revocations::Done done) {
  const IdentityPair both =
      ordered(trust_.agent(pair.first).identity, trust_.agent(pair.second).identity);
  // It only rises, whatever the clock does: the order of revocations is that of control.
  uint64_t& floor = floors_[both];
  floor = std::max(floor + 1, clock_.unix_ms());
  revocations_.revoke({.agents = {},
                       .pairs = {{pair, floor, agreement.request, digest, std::move(statement)}},
                       .reason = reason,
                       .actor = actor},
                      std::move(done));
}

void Ceremony::revoke(const AgentEntry& agent, CheckedStatement s, Done done) {
  const pb::TrustRevoke& body = s.statement.trust_revoke();
  const Digest digest = s.digest;
  if (body.request_digest().size() != 32 || !body.identity().empty() ||
      !wire::is_plain_text(body.reason(), wire::kMostReason)) {
    return done({OutcomeCode::kMalformed, digest});
  }
  const Digest request = key_of(body.request_digest());
  // One's own request that waits is taken back.
  if (const WaitingRequest* w = waiting_.find(request);
      w != nullptr && w->requester == agent.index) {
    const uint64_t now = clock_.unix_ms();
    const crypto::PublicKey receiver = w->row.receiver;
    if (writing_pairs_.contains(ordered(agent.identity, receiver))) return;
    waiting_.end(request);
    writing_.insert(digest);
    store_.apply({crypto::to_did(agent.identity),
                  now,
                  {RequestEnd{request, RequestState::kExpired, digest, s.bytes, now}}},
                 [this, digest, receiver, index = agent.index,
                  done = std::move(done)](Result<WriteTimes> r) {
                   writing_.erase(digest);
                   if (r) remember(digest);
                   done({r ? OutcomeCode::kOk : OutcomeCode::kStore, digest});
                   show_waiting(index);
                   show_waiting(receiver);
                 });
    return;
  }
  const Agreement* agreement = trust_.agreement_of(agent.index, request);
  if (agreement == nullptr || agreement->request != request ||
      body.grant_digest() != as_text(agreement->grant)) {
    return done({OutcomeCode::kNotAgreed, digest});
  }
  const PairKey key = pair_key(agreement->requester, agreement->approver);
  // Nothing would be cut: the operator's configuration names the pair as well.
  if (trust_.is_configured(key)) return done({OutcomeCode::kNotAgreed, digest});
  writing_.insert(digest);
  cut(key, *agreement, digest, s.bytes, body.reason(), crypto::to_did(agent.identity),
      [this, digest, done = std::move(done)](const RevocationAnswer& a) {
        writing_.erase(digest);
        if (a.state == CutState::kCut) remember(digest);
        done({a.state == CutState::kCut          ? OutcomeCode::kOk
              : a.state == CutState::kNotDurable ? OutcomeCode::kNotDurable
                                                 : OutcomeCode::kNotProven,
              digest});
      });
}

void Ceremony::revoke_pair(PairKey pair, const std::string& reason, const std::string& actor,
                           Revocations::Done done) {
  const Agreement& agreement = *trust_.agreement(pair);
  const pb::Signed envelope = operator_statement(
      keys_, trust_.agent(pair.first).address.tenant, clock_.unix_ms(),
      [&](pb::Statement& statement) {
        pb::TrustRevoke& body = *statement.mutable_trust_revoke();
        body.set_request_digest(agreement.request.data(), agreement.request.size());
        body.set_grant_digest(agreement.grant.data(), agreement.grant.size());
        body.set_reason(reason);
      });
  cut(pair, agreement, crypto::sha256({as_bytes(envelope.statement())}),
      to_buffer(as_bytes(envelope.SerializeAsString())), reason, actor, std::move(done));
}

void Ceremony::expire() {
  const uint64_t now = clock_.unix_ms();
  for (size_t i = 0; i < kExpiriesAtOnce; ++i) {
    const WaitingRequest* const next = waiting_.expired(now);
    if (next == nullptr) break;
    const WaitingRequest w = *next;
    waiting_.end(w.row.digest);
    store_.apply({"clock", now, {RequestEnd{w.row.digest, RequestState::kExpired, {}, {}, now}}},
                 [](const Result<WriteTimes>&) {});
    show_waiting(w.requester);
    show_waiting(w.row.receiver);
  }
  for (const PairKey& pair : trust_.expired(now, kExpiriesAtOnce)) {
    const Digest request = trust_.agreement(pair)->request;
    trust_.end_agreement(pair);
    store_.apply({"clock", now, {PairEnd{request, now, "expired", false, {}, {}}}},
                 [](const Result<WriteTimes>&) {});
    channel_.sync_edges(pair.first);
    channel_.sync_edges(pair.second);
  }
  for (const PairKey& pair : trust_.open_waiting()) {
    channel_.sync_edges(pair.first);
    channel_.sync_edges(pair.second);
  }
}

void Ceremony::consent(const Digest& request, uint16_t tenant, const std::string& actor,
                       std::function<void(Result<void>)> done) {
  const WaitingRequest* w = waiting_.find(request);
  const AgentEntry* receiver = w == nullptr ? nullptr : trust_.by_identity(w->row.receiver);
  if (w == nullptr) {
    return done(fail(ErrorCode::kNotFound, "no such request waits: sluicectl requests shows them"));
  }
  if (receiver == nullptr || w->tenant == receiver->address.tenant) {
    return done(fail(ErrorCode::kConflict, "the request does not go from one tenant to another"));
  }
  if (tenant != w->tenant && tenant != receiver->address.tenant) {
    return done(fail(ErrorCode::kConflict,
                     fmt::format("the request goes from tenant {} to tenant {}; tenant {} has no "
                                 "say in it",
                                 w->tenant, receiver->address.tenant, tenant)));
  }
  const uint64_t now = clock_.unix_ms();
  store_.apply({actor, now, {ConsentRow{request, tenant, now}}},
               [this, request, tenant, receiver = receiver->identity,
                done = std::move(done)](const Result<WriteTimes>& r) {
                 if (!r) return done(tl::unexpected(r.error()));
                 waiting_.consent(request, tenant);
                 show_waiting(receiver);
                 done({});
               });
}

void Ceremony::policy_changed() {
  std::set<crypto::PublicKey> receivers;
  for (const auto& [digest, w] : waiting_.all()) receivers.insert(w.row.receiver);
  for (const auto& receiver : receivers) show_waiting(receiver);
}

// --- What agents are shown ----------------------------------------------------------------------

void Ceremony::show_waiting(const crypto::PublicKey& identity) {
  if (const AgentEntry* agent = trust_.by_identity(identity)) show_waiting(agent->index);
}

void Ceremony::show_waiting(uint32_t index) {
  const AgentEntry& agent = trust_.agent(index);
  std::vector<pb::Pending> list;
  const auto add = [&](const WaitingRequest& w, bool own) {
    if (!own && !deliverable(w, agent)) return;
    pb::Pending& p = list.emplace_back();
    p.mutable_request()->ParseFromArray(w.row.statement.data(),
                                        static_cast<int>(w.row.statement.size()));
    p.set_received_ms(w.row.received_ms);
    p.set_expires_ms(w.row.expires_ms);
    if (own) return;
    const AgentEntry& asker = trust_.agent(w.requester);
    p.set_peer_name(asker.name);
    p.set_peer_address(asker.address.to_u64());
  };
  for (const WaitingRequest* w : waiting_.to(agent.identity)) add(*w, false);
  for (const WaitingRequest* w : waiting_.from(index)) add(*w, true);
  channel_.sync_pending(index, std::move(list));
}

// An agent that connects knows of nothing that waits, so there is nothing to say if nothing does.
void Ceremony::introduce(uint32_t agent) {
  const AgentEntry& entry = trust_.agent(agent);
  if (waiting_.from(agent).empty() && waiting_.to(entry.identity).empty()) {
    return;
  }
  show_waiting(agent);
}

void Ceremony::poll() {
  const uint64_t now = clock_.ticks();
  if (now < next_expiry_) return;
  next_expiry_ = now + clock_.ticks_from_ms(kExpiryMs);
  expire();
}

}  // namespace sluice::control
