// Asking and answering: what makes a pair.
#include "control/ceremony.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/log.h"
#include "control/ceremony_keys.h"
#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr uint64_t kRequestLifeMs = 7ull * 24 * 3600 * 1000;
constexpr size_t kMostAccepted = 65'536;
// Different names of scopes that one tenant's agents may have had in agreements.
constexpr size_t kMostScopeNames = 65'536;

// Names that the relay does not know are between the agents.
EdgeTerms terms_of(const pb::Terms& terms) {
  EdgeTerms out{.right = right_of(terms), .capabilities = 0, .protocols = 0, .rate = {}};
  for (const std::string& name : terms.capabilities()) {
    out.capabilities |= wire::capability_bit(name);
  }
  for (const std::string& name : terms.protocols()) out.protocols |= wire::protocol_bit(name);
  return out;
}

std::vector<uint64_t> scopes_of(const pb::Terms& terms) {
  std::vector<uint64_t> out;
  for (const std::string& name : terms.scopes()) out.push_back(scope_hash(name));
  return out;
}

bool well_formed(const pb::Quota& quota) {
  return quota.calls() != 0 && quota.calls() <= CallQuota::kMostCalls && quota.period_s() != 0 &&
         quota.period_s() <= CallQuota::kLongestPeriodS;
}

uint16_t calls_of(const EdgeTerms& terms) {
  return static_cast<uint16_t>(terms.capabilities | terms.protocols << 8);
}

bool among(const google::protobuf::RepeatedPtrField<std::string>& names,
           const std::optional<std::set<std::string>>& allowed) {
  return !allowed || std::all_of(names.begin(), names.end(),
                                 [&](const std::string& n) { return allowed->contains(n); });
}

// Whether a policy lets this be asked.
bool allows(const PolicyDecision& d, const pb::TrustRequest& r) {
  return d.action != PolicyAction::kDeny && among(r.asked().scopes(), d.bounds.scopes) &&
         among(r.offered().scopes(), d.bounds.scopes) &&
         among(r.asked().protocols(), d.bounds.protocols) &&
         among(r.offered().protocols(), d.bounds.protocols);
}

// The agent asks for what it has already become: the answer may have been lost, and each time it
// asks the statement is another one.
bool has_become(const AgentEntry& agent, const pb::Signed& envelope) {
  pb::Statement s;
  return !agent.formers.empty() && wire::parse_statement(as_bytes(envelope.statement()), s) &&
         s.has_identity_rotate() &&
         s.identity_rotate().former() == as_text(agent.formers.back().identity) &&
         s.identity_rotate().successor() == as_text(agent.identity);
}

// The end of the trust: of the grant if it names one, else of the request.
uint64_t end_of(uint64_t request_ms, uint64_t grant_ms) {
  return grant_ms != 0 ? grant_ms : request_ms;
}

}  // namespace

Ceremony::Ceremony(const RelayKeys& keys, const Clock& clock, TrustTable& trust, Channel& channel,
                   Store& store, Enrolment& enrolment, Revocations& revocations, AgentPace& pace)
    : keys_(keys),
      clock_(clock),
      trust_(trust),
      channel_(channel),
      store_(store),
      enrolment_(enrolment),
      revocations_(revocations),
      pace_(pace) {}

void Ceremony::restore(const Snapshot& snapshot) {
  for (const auto& f : snapshot.floors) floors_[{f.low, f.high}] = f.at_ms;
  for (const auto& row : snapshot.requests) {
    const AgentEntry* requester = trust_.by_identity(row.requester);
    pb::Signed envelope;
    pb::Statement statement;
    if (requester == nullptr || !wire::parse_signed(row.statement, envelope) ||
        !wire::parse_statement(as_bytes(envelope.statement()), statement) ||
        !statement.has_trust_request()) {
      continue;
    }
    waiting_.add({row,
                  requester->index,
                  requester->address.tenant,
                  statement.trust_request(),
                  statement.issued_ms(),
                  {}});
  }
  for (const auto& c : snapshot.consents) waiting_.consent(c.request, c.tenant);
  for (const auto& s : snapshot.scope_names) know_scope(s);
}

bool Ceremony::scopes_free(const pb::Terms& terms, uint16_t tenant) const {
  return std::all_of(terms.scopes().begin(), terms.scopes().end(), [&](const std::string& name) {
    const auto it = scope_names_.find({tenant, scope_hash(name)});
    return it == scope_names_.end() || it->second == name;
  });
}

size_t Ceremony::names_of(uint16_t tenant) const {
  const auto it = names_by_tenant_.find(tenant);
  return it == names_by_tenant_.end() ? 0 : it->second;
}

void Ceremony::know_scope(const ScopeNameRow& s) {
  if (scope_names_.emplace(std::pair{s.tenant, s.hash}, s.name).second) {
    ++names_by_tenant_[s.tenant];
  }
}

std::string Ceremony::scope_name(uint16_t tenant, uint64_t hash) const {
  const auto it = scope_names_.find({tenant, hash});
  return it == scope_names_.end() ? fmt::format("{:016x}", hash) : it->second;
}

void Ceremony::add_scopes(const pb::Terms& terms, uint16_t tenant, Changes& changes) const {
  for (const std::string& name : terms.scopes()) {
    const uint64_t hash = scope_hash(name);
    if (!scope_names_.contains({tenant, hash})) {
      changes.list.push_back(ScopeNameRow{tenant, hash, name});
    }
  }
}

void Ceremony::remember(const Digest& digest) {
  if (!accepted_.insert(digest).second) return;
  accepted_order_.push_back(digest);
  if (accepted_order_.size() <= kMostAccepted) return;
  accepted_.erase(accepted_order_.front());
  accepted_order_.pop_front();
}

uint64_t Ceremony::floor_of(const crypto::PublicKey& a, const crypto::PublicKey& b) const {
  const auto it = floors_.find(ordered(a, b));
  return it == floors_.end() ? 0 : it->second;
}

void Ceremony::submit(uint32_t index, const pb::Signed& envelope, Done done) {
  if (!pace_.allow(index) || rotating_.contains(index)) return;
  const AgentEntry& agent = trust_.agent(index);
  CheckedStatement s;
  const OutcomeCode code = check_statement(envelope, agent, keys_.id, s);
  const Digest digest = s.digest;
  if (code == OutcomeCode::kNotYours && has_become(agent, envelope)) {
    return done({OutcomeCode::kOk, crypto::sha256({as_bytes(envelope.statement())})});
  }
  if (code != OutcomeCode::kOk) return done({code, digest});
  if (writing_.contains(digest)) return;
  if (const Agreement* made = trust_.agreement_of(index, digest)) {
    return done({OutcomeCode::kOk, digest, made->grant == digest});
  }
  if (accepted_.contains(digest) || waiting_.contains(digest)) {
    return done({OutcomeCode::kOk, digest});
  }
  if (s.statement.has_enrol()) {
    if (enrolment_.busy(agent.identity)) return;
    writing_.insert(digest);
    return enrolment_.submit(index, s, [this, digest, done = std::move(done)](OutcomeCode c) {
      writing_.erase(digest);
      if (c == OutcomeCode::kOk) remember(digest);
      done({c, digest});
    });
  }
  if (!is_timely(s.statement, clock_.unix_ms())) return done({OutcomeCode::kStale, digest});
  switch (s.statement.body_case()) {
    case pb::Statement::kTrustRequest:
      return request(agent, std::move(s), std::move(done));
    case pb::Statement::kTrustGrant:
      return grant(agent, std::move(s), std::move(done));
    case pb::Statement::kTrustReject:
      return reject(agent, std::move(s), std::move(done));
    case pb::Statement::kTrustRevoke:
      return revoke(agent, std::move(s), std::move(done));
    case pb::Statement::kIdentityRotate:
      return rotate(agent, std::move(s), std::move(done));
    default:
      return done({OutcomeCode::kMalformed, digest});
  }
}

// --- Asking -------------------------------------------------------------------------------------

// Nothing here depends on whether the receiver exists: a stranger learns nothing by asking.
OutcomeCode Ceremony::check_request(const AgentEntry& agent, const CheckedStatement& s) const {
  const pb::TrustRequest& r = s.statement.trust_request();
  if (r.from().size() != 32 || r.to().size() != 32 || r.from() == r.to() ||
      r.e2e_key().size() != 32 || r.nonce().size() != wire::kRequestNonceBytes ||
      r.justification().empty() ||
      !wire::is_plain_text(r.justification(), wire::kMostJustification) ||
      !well_formed(r.asked()) || !well_formed(r.offered())) {
    return OutcomeCode::kMalformed;
  }
  if (r.from() != as_text(agent.identity)) return OutcomeCode::kNotYours;
  if (r.expires_ms() != 0 &&
      (r.expires_ms() <= s.statement.issued_ms() || r.expires_ms() <= clock_.unix_ms())) {
    return OutcomeCode::kStale;
  }
  const crypto::PublicKey to = key_of(r.to());
  if (s.statement.issued_ms() <= floor_of(agent.identity, to)) return OutcomeCode::kRevokedBefore;
  // As the requester sees it: whom it cannot look up is nobody. A request that the policy refuses
  // for a reason that it cannot see waits like any other, and reaches nobody.
  const AgentEntry* receiver = trust_.by_identity(to);
  const bool seen = receiver != nullptr && receiver->standing() && !receiver->revoked &&
                    receiver->visibility == Visibility::kPublic &&
                    receiver->address.tenant == agent.address.tenant;
  const PolicyTable& policy = trust_.policy();
  const bool may =
      seen ? allows(policy.decide(agent, receiver), r)
           : policy.may_ask_somebody(agent, [&](const PolicyDecision& d) { return allows(d, r); });
  if (!may) return OutcomeCode::kPolicy;
  return waiting_.has_room(agent.index, agent.address.tenant, to) ? OutcomeCode::kOk
                                                                  : OutcomeCode::kTooMany;
}

// The other one's request, where each offers what the other asks for.
const WaitingRequest* Ceremony::crossed(const pb::TrustRequest& request) const {
  const AgentEntry* other = trust_.by_identity(key_of(request.to()));
  if (other == nullptr) return nullptr;
  for (const WaitingRequest* w : waiting_.from(other->index)) {
    const uint64_t floor = floor_of(w->row.requester, w->row.receiver);
    if (w->issued_ms > floor && w->row.received_ms > floor && w->body.to() == request.from() &&
        covers(request.offered(), w->body.asked()) && covers(w->body.offered(), request.asked())) {
      return w;
    }
  }
  return nullptr;
}

void Ceremony::request(const AgentEntry& agent, CheckedStatement s, Done done) {
  if (const OutcomeCode code = check_request(agent, s); code != OutcomeCode::kOk) {
    return done({code, s.digest});
  }
  const pb::TrustRequest& body = s.statement.trust_request();
  if (const WaitingRequest* other = crossed(body); other != nullptr) {
    const AgentEntry& asker = trust_.agent(other->requester);
    if (deliverable(*other, agent) && allows(trust_.policy().decide(agent, &asker), body)) {
      const uint64_t ends[] = {other->body.expires_ms(), body.expires_ms()};
      const uint64_t end =
          ends[0] == 0 || ends[1] == 0 ? std::max(ends[0], ends[1]) : std::min(ends[0], ends[1]);
      return conclude({.request = *other,
                       .submitted = s.digest,
                       .answer = s.digest,
                       .bytes = s.bytes,
                       .forward = other->body.asked(),
                       .backward = body.asked(),
                       .expires_ms = end,
                       .actor = crypto::to_did(agent.identity),
                       .quota = {}},
                      std::move(done));
    }
  }
  const uint64_t now = clock_.unix_ms();
  WaitingRequest w;
  w.row = {s.digest, agent.identity, key_of(body.to()), now, now + kRequestLifeMs, s.bytes};
  if (body.expires_ms() != 0) w.row.expires_ms = std::min(w.row.expires_ms, body.expires_ms());
  w.requester = agent.index;
  w.tenant = agent.address.tenant;
  w.body = body;
  w.issued_ms = s.statement.issued_ms();
  if (const AgentEntry* receiver = trust_.by_identity(w.row.receiver);
      receiver != nullptr && grant_by_policy(w, *receiver, done)) {
    return;
  }
  writing_.insert(s.digest);
  store_.apply({crypto::to_did(agent.identity), now, {w.row}}, [this, w, done = std::move(done)](
                                                                   Result<WriteTimes> r) {
    const Digest digest = w.row.digest;
    writing_.erase(digest);
    if (!r) {
      // It was answered in an earlier life of the relay.
      const bool old = r.error().code == ErrorCode::kConflict;
      return done({old ? OutcomeCode::kStale : OutcomeCode::kStore, digest});
    }
    remember(digest);
    // Signed by an identity that has handed over meanwhile, as those that waited.
    if (trust_.by_identity(w.row.requester) == nullptr) {
      const uint64_t at = clock_.unix_ms();
      store_.apply({"relay", at, {RequestEnd{digest, RequestState::kExpired, {}, {}, at}}},
                   [](const Result<WriteTimes>&) {});
      return done({OutcomeCode::kOk, digest});
    }
    waiting_.add(w);
    // The answer first: what follows differs between receivers.
    done({OutcomeCode::kOk, digest});
    show_waiting(w.requester);
    show_waiting(w.row.receiver);
  });
}

// --- Answering ----------------------------------------------------------------------------------

bool Ceremony::deliverable(const WaitingRequest& w, const AgentEntry& receiver) const {
  const AgentEntry& requester = trust_.agent(w.requester);
  return w.row.receiver == receiver.identity && receiver.standing() && !receiver.revoked &&
         requester.standing() && !requester.revoked && consented(w, receiver) &&
         allows(trust_.policy().decide(requester, &receiver), w.body);
}

// Across tenants the operators of both have to agree, or a policy that names both.
bool Ceremony::consented(const WaitingRequest& w, const AgentEntry& receiver) const {
  if (w.tenant == receiver.address.tenant) return true;
  if (w.consents.contains(w.tenant) && w.consents.contains(receiver.address.tenant)) return true;
  return trust_.policy().decide(trust_.agent(w.requester), &receiver).names_both_tenants;
}

const char* Ceremony::waits_for(const WaitingRequest& w) const {
  const AgentEntry* receiver = trust_.by_identity(w.row.receiver);
  if (receiver == nullptr || !receiver->standing() || receiver->revoked) return "enrolment";
  if (!consented(w, *receiver)) return "consent";
  return deliverable(w, *receiver) ? "receiver" : "policy";
}

void Ceremony::grant(const AgentEntry& agent, CheckedStatement s, Done done) {
  const pb::TrustGrant& g = s.statement.trust_grant();
  const Digest digest = s.digest;
  if (g.from().size() != 32 || g.to().size() != 32 || g.request().size() != 32 ||
      g.e2e_key().size() != 32 || !well_formed(g.asked()) || !well_formed(g.offered()) ||
      (g.has_quota() && !well_formed(g.quota()))) {
    return done({OutcomeCode::kMalformed, digest});
  }
  if (g.to() != as_text(agent.identity)) return done({OutcomeCode::kNotYours, digest});
  const WaitingRequest* found = waiting_.find(key_of(g.request()));
  // A request to somebody else is the same as none.
  if (found == nullptr || !deliverable(*found, agent)) {
    return done({OutcomeCode::kUnknownRequest, digest});
  }
  const WaitingRequest& w = *found;
  if (g.from() != w.body.from()) return done({OutcomeCode::kMalformed, digest});
  const uint64_t floor = floor_of(agent.identity, w.row.requester);
  if (s.statement.issued_ms() <= floor || w.issued_ms <= floor || w.row.received_ms <= floor) {
    return done({OutcomeCode::kRevokedBefore, digest});
  }
  const uint64_t end = end_of(w.body.expires_ms(), g.expires_ms());
  if (!covers(w.body.asked(), g.asked()) || !covers(w.body.offered(), g.offered()) ||
      (w.body.expires_ms() != 0 && end > w.body.expires_ms())) {
    return done({OutcomeCode::kExceeds, digest});
  }
  if (end != 0 && end <= clock_.unix_ms()) return done({OutcomeCode::kStale, digest});
  conclude({.request = w,
            .submitted = digest,
            .answer = digest,
            .bytes = s.bytes,
            .forward = g.asked(),
            .backward = g.offered(),
            .expires_ms = end,
            .actor = crypto::to_did(agent.identity),
            .quota = {g.quota().calls(), g.quota().period_s()}},
           std::move(done));
}

// The relay's operator signs in the receiver's place. False: the policy does not say so, or the
// receiver has not told its end-to-end key yet.
bool Ceremony::grant_by_policy(WaitingRequest w, const AgentEntry& receiver, Done& done) {
  const AgentEntry& requester = trust_.agent(w.requester);
  if (trust_.policy().decide(requester, &receiver).action != PolicyAction::kApprove ||
      !deliverable(w, receiver)) {
    return false;
  }
  pb::Signed told;
  pb::Statement enrol;
  if (!wire::parse_signed(receiver.enrol, told) ||
      !wire::parse_statement(as_bytes(told.statement()), enrol) || !enrol.has_enrol()) {
    return false;
  }
  const pb::Signed signed_grant = operator_statement(
      keys_, receiver.address.tenant, clock_.unix_ms(), [&](pb::Statement& statement) {
        pb::TrustGrant& g = *statement.mutable_trust_grant();
        g.set_from(w.body.from());
        g.set_to(w.body.to());
        g.set_request(w.row.digest.data(), w.row.digest.size());
        *g.mutable_asked() = w.body.asked();
        *g.mutable_offered() = w.body.offered();
        g.set_e2e_key(enrol.enrol().e2e_key());
        if (w.body.expires_ms() != 0) g.set_expires_ms(w.body.expires_ms());
      });
  Conclusion c{.request = std::move(w),
               .fresh = true,
               .submitted = {},
               .answer = crypto::sha256({as_bytes(signed_grant.statement())}),
               .bytes = to_buffer(as_bytes(signed_grant.SerializeAsString())),
               .forward = {},
               .backward = {},
               .expires_ms = 0,
               .actor = "policy",
               .quota = {}};
  c.submitted = c.request.row.digest;
  c.forward = c.request.body.asked();
  c.backward = c.request.body.offered();
  c.expires_ms = c.request.body.expires_ms();
  conclude(std::move(c), std::move(done));
  return true;
}

void Ceremony::conclude(Conclusion c, Done done) {
  const WaitingRequest& w = c.request;
  const AgentEntry& requester = trust_.agent(w.requester);
  const AgentEntry& approver = *trust_.by_identity(w.row.receiver);
  if (rotating_.contains(requester.index) || rotating_.contains(approver.index)) return;
  // What the requester may use is looked at by the approver, and the other way about.
  if (!scopes_free(c.forward, approver.address.tenant) ||
      !scopes_free(c.backward, requester.address.tenant)) {
    return done({OutcomeCode::kScopeTaken, c.submitted});
  }
  // Said before anything is promised that workers would not have room for.
  const bool room = trust_.scopes().has_room(requester.address.tenant, scopes_of(c.forward),
                                             scopes_of(c.backward)) &&
                    (c.quota.calls == 0 || trust_.limits().has_room_for_grants()) &&
                    names_of(approver.address.tenant) < kMostScopeNames &&
                    names_of(requester.address.tenant) < kMostScopeNames;
  if (!room) return done({OutcomeCode::kTooMany, c.submitted});
  const IdentityPair both = ordered(requester.identity, approver.identity);
  if (!writing_pairs_.insert(both).second) return;  // asked again, it finds how that went
  const uint64_t floor_before = floor_of(both.first, both.second);
  const uint64_t now = clock_.unix_ms();
  Changes changes{c.actor, now, {}};
  if (c.fresh) changes.list.push_back(w.row);
  changes.list.push_back(RequestEnd{w.row.digest, RequestState::kGranted, c.answer, c.bytes, now});
  if (const Agreement* old = trust_.agreement(pair_key(requester.index, approver.index))) {
    changes.list.push_back(PairEnd{old->request, now, "replaced", false, {}, {}});
  }
  Agreement agreement{.request = w.row.digest,
                      .grant = c.answer,
                      .requester = requester.index,
                      .approver = approver.index,
                      .forward = terms_of(c.forward),
                      .backward = terms_of(c.backward),
                      .made_ms = now,
                      .expires_ms = c.expires_ms};
  agreement.forward.granted = c.quota;
  GrantedScopes scopes{scopes_of(c.forward), scopes_of(c.backward)};
  const size_t names_at = changes.list.size();
  add_scopes(c.forward, approver.address.tenant, changes);
  add_scopes(c.backward, requester.address.tenant, changes);
  std::vector<ScopeNameRow> names;
  for (size_t i = names_at; i < changes.list.size(); ++i) {
    names.push_back(std::get<ScopeNameRow>(changes.list[i]));
  }
  changes.list.push_back(PairRow{.request = agreement.request,
                                 .grant = agreement.grant,
                                 .requester = requester.identity,
                                 .approver = approver.identity,
                                 .forward = uint8_t(agreement.forward.right),
                                 .backward = uint8_t(agreement.backward.right),
                                 .made_ms = now,
                                 .expires_ms = c.expires_ms,
                                 .forward_calls = calls_of(agreement.forward),
                                 .backward_calls = calls_of(agreement.backward),
                                 .forward_scopes = scopes.forward,
                                 .backward_scopes = scopes.backward,
                                 .quota_calls = c.quota.calls,
                                 .quota_s = c.quota.period_s});
  writing_.insert(c.submitted);
  store_.apply(std::move(changes), [this, agreement, both, floor_before, submitted = c.submitted,
                                    scopes = std::move(scopes), names = std::move(names),
                                    bytes = std::move(c.bytes), by_policy = c.fresh,
                                    done = std::move(done)](Result<WriteTimes> r) {
    writing_.erase(submitted);
    writing_pairs_.erase(both);
    if (!r) {
      // A request that was answered in an earlier life of the relay.
      const bool old = by_policy && r.error().code == ErrorCode::kConflict;
      return done({old ? OutcomeCode::kStale : OutcomeCode::kStore, submitted});
    }
    remember(submitted);
    for (const ScopeNameRow& s : names) know_scope(s);
    waiting_.end(agreement.request);
    // Revoked while it was written: the revocation came first, and its floor holds.
    if (const uint64_t floor = floor_of(both.first, both.second); floor != floor_before) {
      store_.apply({"relay", floor, {PairEnd{agreement.request, floor, "revoked", true, {}, {}}}},
                   [](const Result<WriteTimes>&) {});
      return done({OutcomeCode::kRevokedBefore, submitted});
    }
    if (!trust_.agree(agreement, scopes)) {
      spdlog::warn("a pair waits for edge slots that rest for 180 s: raise limits.edges");
    }
    done({OutcomeCode::kOk, submitted, true});
    channel_.tell(agreement.requester, bytes);
    if (by_policy) channel_.tell(agreement.approver, bytes);
    for (const uint32_t agent : {agreement.requester, agreement.approver}) {
      channel_.sync_edges(agent);
      show_waiting(agent);
    }
  });
}

void Ceremony::reject(const AgentEntry& agent, CheckedStatement s, Done done) {
  const pb::TrustReject& body = s.statement.trust_reject();
  const Digest digest = s.digest;
  if (body.request().size() != 32 || !wire::is_plain_text(body.reason(), wire::kMostReason)) {
    return done({OutcomeCode::kMalformed, digest});
  }
  const WaitingRequest* w = waiting_.find(key_of(body.request()));
  if (w == nullptr || !deliverable(*w, agent)) {
    return done({OutcomeCode::kUnknownRequest, digest});
  }
  // A grant of it is being written, or its end: asked again, it finds how that went.
  if (rotating_.contains(w->requester) ||
      writing_pairs_.contains(ordered(w->row.requester, agent.identity)))
    return;
  const uint64_t now = clock_.unix_ms();
  const uint32_t requester = w->requester;
  const Digest request = w->row.digest;
  writing_.insert(digest);
  store_.apply({crypto::to_did(agent.identity),
                now,
                {RequestEnd{request, RequestState::kRejected, digest, s.bytes, now}}},
               [this, requester, receiver = agent.index, request, s,
                done = std::move(done)](Result<WriteTimes> r) {
                 writing_.erase(s.digest);
                 if (!r) return done({OutcomeCode::kStore, s.digest});
                 remember(s.digest);
                 waiting_.end(request);
                 done({OutcomeCode::kOk, s.digest});
                 channel_.tell(requester, s.bytes);
                 show_waiting(requester);
                 show_waiting(receiver);
               });
}

}  // namespace sluice::control
