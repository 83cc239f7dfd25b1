#include "agent/trust_desk.h"

#include <algorithm>

#include <fmt/format.h>

#include "agent/statement_fields.h"
#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::agent {
namespace {

constexpr uint64_t kFirstRepeatMs = 150;  // doubles up to the longest
constexpr uint64_t kLongestRepeatMs = 2'000;
constexpr uint64_t kEnrolAgainMs = 30'000;

// The relay's codes as this program's own.
Error error_of(const pb::Outcome& o) {
  ErrorCode code = ErrorCode::kRefused;
  if (o.code() == "unknown_request" || o.code() == "not_agreed") code = ErrorCode::kNotFound;
  if (o.code() == "not_yours") code = ErrorCode::kPermission;
  if (o.code() == "too_many" || o.code() == "too_soon") code = ErrorCode::kResource;
  if (o.code() == "name_taken") code = ErrorCode::kConflict;
  if (o.code() == "stale") code = ErrorCode::kOutdated;
  if (o.code() == "malformed") code = ErrorCode::kUsage;
  if (o.code() == "store") code = ErrorCode::kStore;
  if (o.code() == "not_proven") code = ErrorCode::kNotProven;
  if (o.code() == "not_durable") code = ErrorCode::kNotDurable;
  return {code, fmt::format("the relay answers {}: {}{}{}", o.code(), o.text(),
                            o.hint().empty() ? "" : "; ", o.hint())};
}

}  // namespace

TrustDesk::TrustDesk(TrustParty party, Pins& pins, TrustHooks hooks,
                     std::function<uint64_t()> random)
    : party_(std::move(party)), pins_(pins), hooks_(std::move(hooks)), random_(std::move(random)) {}

// --- Questions and answers ----------------------------------------------------------------------

void TrustDesk::put(const pb::Control& message, Now now, uint64_t patience_ms,
                    std::function<void(Result<pb::Control>)> done) {
  uint64_t id = 0;
  while (id == 0 || questions_.contains(id)) id = random_();
  Question q{to_buffer(as_bytes(message.SerializeAsString())), now.mono_ms,
             now.mono_ms + patience_ms, 0, std::move(done)};
  questions_.emplace(id, std::move(q));
  tick(now);
}

void TrustDesk::tick(Now now) {
  now_ = now;
  std::vector<std::function<void(Result<pb::Control>)>> late;
  for (auto it = questions_.begin(); it != questions_.end();) {
    Question& q = it->second;
    if (now.mono_ms >= q.until_ms) {
      late.push_back(std::move(q.done));
      it = questions_.erase(it);
      continue;
    }
    if (now.mono_ms >= q.next_ms) {
      if (hooks_.send(it->first, q.message)) ++q.tries;
      const uint64_t pause = kFirstRepeatMs << std::min(q.tries == 0 ? 0 : q.tries - 1, 5u);
      q.next_ms = now.mono_ms + std::min(pause, kLongestRepeatMs);
    }
    ++it;
  }
  if (now.mono_ms >= enrol_again_ms_) {
    enrol_again_ms_ = kNever;
    tell_enrol(now);
  }
  for (auto& done : late) {
    done(fail(ErrorCode::kTimeout,
              "the relay has not answered; what it did is not known: see "
              "sluice-agent pending and peers"));
  }
}

uint64_t TrustDesk::deadline() const {
  uint64_t at = enrol_again_ms_;
  for (const auto& [id, q] : questions_) at = std::min({at, q.next_ms, q.until_ms});
  return at;
}

bool TrustDesk::receive(uint64_t request, const pb::Control& message, Now now) {
  switch (message.body_case()) {
    case pb::Control::kPending:
      on_pending(message.pending());
      return true;
    case pb::Control::kTold:
      on_told(message.told());
      check(std::vector<PeerEdge>(edges_), now);
      return true;
    case pb::Control::kOutcome:
    case pb::Control::kFound:
    case pb::Control::kFetched:
      break;
    default:
      return true;  // newer than this agent; acknowledged, or the relay would repeat it for ever
  }
  now_ = now;
  const auto it = questions_.find(request);
  if (it == questions_.end()) return false;
  const auto done = std::move(it->second.done);
  questions_.erase(it);
  done(message);
  return false;
}

void TrustDesk::submit(const pb::Statement& statement, Now now, Done done) {
  pb::Control message;
  pb::Signed& s = *message.mutable_submit();
  s = sign_statement(statement, *party_.identity);
  if (s.ByteSizeLong() > wire::kMostSignedBytes) {
    return done(fail(ErrorCode::kTooLarge,
                     fmt::format("the statement has {} bytes, at most {} fit: say less, or name "
                                 "fewer scopes",
                                 s.ByteSizeLong(), wire::kMostSignedBytes)));
  }
  const auto digest = crypto::sha256({as_bytes(s.statement())});
  (void)keep(digest, s);
  put(message, now, kPatienceMs, [digest, done = std::move(done)](Result<pb::Control> answer) {
    if (!answer) return done(tl::unexpected(answer.error()));
    if (answer->outcome().code() != "ok") return done(tl::unexpected(error_of(answer->outcome())));
    done(Submitted{digest, answer->outcome().agreed()});
  });
}

pb::Statement TrustDesk::statement(Now now) const {
  pb::Statement out;
  out.set_version(1);
  out.set_relay_key(text(party_.relay_id));
  out.set_tenant(self_.tenant);
  out.set_issued_ms(now.unix_ms);
  return out;
}

// --- Who we are ---------------------------------------------------------------------------------

void TrustDesk::connected(VirtualAddress self, Now now) {
  self_ = self;
  waiting_.clear();  // the relay tells what there is
  absent_.clear();
  tell_enrol(now);
}

void TrustDesk::tell_enrol(Now now) {
  submit_enrol(now, [this](const Result<Submitted>& r) {
    enrol_again_ms_ = kNever;
    // An older one than the operator gave the relay changes nothing there.
    if (r || r.error().code == ErrorCode::kOutdated) return;
    // Peers need it: a disk has room again, a relay answers again.
    if (r.error().code == ErrorCode::kStore || r.error().code == ErrorCode::kTimeout) {
      enrol_again_ms_ = now_.mono_ms + kEnrolAgainMs;
    }
    hooks_.report(Level::kError,
                  fmt::format("this agent could not tell its name and key: {}", r.error().message));
  });
}

void TrustDesk::submit_enrol(Now now, Done done) {
  // The same bytes at every start, until something in them changes.
  if (pins_.own_enrol_ms == 0) {
    pins_.own_enrol_ms = now.unix_ms;
    pins_.changed = true;
  }
  pb::Statement s = statement(now);
  s.set_issued_ms(pins_.own_enrol_ms);
  s.mutable_enrol()->set_name(party_.name);
  s.mutable_enrol()->set_visibility(pins_.visible ? 1 : 0);
  s.mutable_enrol()->set_e2e_key(text(party_.e2e_key->public_key));
  submit(s, now, std::move(done));
}

void TrustDesk::set_visibility(bool visible, Now now, Done done) {
  if (pins_.visible != visible) {
    pins_.visible = visible;
    pins_.own_enrol_ms = std::max(now.unix_ms, pins_.own_enrol_ms + 1);
    pins_.changed = true;
  }
  submit_enrol(now, std::move(done));
}

void TrustDesk::forget() {
  parts_.clear();
  applied_ = 0;
  collecting_ = 0;
}

void TrustDesk::rotate_identity(const crypto::Identity& successor, Now now, Done done) {
  pb::Statement s = statement(now);
  pb::IdentityRotate& r = *s.mutable_identity_rotate();
  r.set_former(text(party_.identity->public_key()));
  r.set_successor(text(successor.public_key()));
  const std::string agreed = wire::encode_without_consent(s);
  r.set_consent(text(successor.sign(crypto::kLabelStatement, {as_bytes(agreed)})));
  submit(s, now, std::move(done));
}

void TrustDesk::identity_changed(Now now) {
  // With the same time it would be the same statement, which the relay has taken from the former.
  // On disk with the change itself: who only tries must not write each time.
  pins_.own_enrol_ms = std::max(now.unix_ms, pins_.own_enrol_ms + 1);
  waiting_.clear();
}

// --- The ceremony -------------------------------------------------------------------------------

void TrustDesk::ask(const TrustWish& wish, Now now, Done done) {
  pb::Statement s = statement(now);
  pb::TrustRequest& r = *s.mutable_trust_request();
  r.set_from(text(party_.identity->public_key()));
  r.set_to(text(wish.to));
  r.set_justification(wish.justification);
  *r.mutable_asked() = wish.asked;
  *r.mutable_offered() = wish.offered;
  r.set_e2e_key(text(party_.e2e_key->public_key));
  ByteArray<wire::kRequestNonceBytes> nonce;
  store_le(nonce.data(), random_());
  store_le(nonce.data() + 8, random_());
  r.set_nonce(text(nonce));
  if (wish.life_ms != 0) r.set_expires_ms(now.unix_ms + wish.life_ms);
  submit(s, now, std::move(done));
}

void TrustDesk::approve(const WaitingTrust& w, uint64_t life_ms, const TrustQuota& quota, Now now,
                        Done done) {
  pb::Statement s = statement(now);
  pb::TrustGrant& g = *s.mutable_trust_grant();
  g.set_from(w.request.from());
  g.set_to(w.request.to());
  g.set_request(text(w.digest));
  *g.mutable_asked() = w.request.asked();
  *g.mutable_offered() = w.request.offered();
  g.set_e2e_key(text(party_.e2e_key->public_key));
  if (life_ms != 0) g.set_expires_ms(now.unix_ms + life_ms);
  if (quota.calls != 0) {
    g.mutable_quota()->set_calls(quota.calls);
    g.mutable_quota()->set_period_s(quota.period_s);
  }
  submit(s, now, std::move(done));
}

void TrustDesk::reject(const WaitingTrust& w, const std::string& reason, Now now, Done done) {
  pb::Statement s = statement(now);
  s.mutable_trust_reject()->set_request(text(w.digest));
  s.mutable_trust_reject()->set_reason(reason);
  submit(s, now, std::move(done));
}

void TrustDesk::take_back(const WaitingTrust& w, Now now, Done done) {
  pb::Statement s = statement(now);
  s.mutable_trust_revoke()->set_request_digest(text(w.digest));
  s.mutable_trust_revoke()->set_reason("taken back");
  submit(s, now, std::move(done));
}

void TrustDesk::untrust(const PeerEdge& edge, const std::string& reason, Now now, Done done) {
  if (!edge.request) {
    return done(fail(ErrorCode::kRefused,
                     "this pair was set by the relay's operator, who alone can end it"));
  }
  pb::Statement s = statement(now);
  s.mutable_trust_revoke()->set_request_digest(text(*edge.request));
  s.mutable_trust_revoke()->set_grant_digest(text(edge.grant.value_or(ByteArray<32>{})));
  s.mutable_trust_revoke()->set_reason(reason);
  submit(s, now, std::move(done));
}

void TrustDesk::look_up(const std::string& who, Now now,
                        std::function<void(Result<FoundPeer>)> done) {
  pb::Control message;
  if (const auto address = parse_virtual_address(who)) {
    message.mutable_lookup()->set_address(address->to_u64());
  } else {
    message.mutable_lookup()->set_name(who);
  }
  put(message, now, kPatienceMs, [who, done = std::move(done)](Result<pb::Control> answer) {
    if (!answer) return done(tl::unexpected(answer.error()));
    const auto key = key_of(answer->found().identity());
    if (!key) {
      return done(fail(ErrorCode::kNotFound,
                       fmt::format("nobody called \"{}\" is to be found from here; a private agent "
                                   "is named by its DID",
                                   who)));
    }
    done(FoundPeer{*key, VirtualAddress::from_u64(answer->found().address()),
                   answer->found().name()});
  });
}

// --- What waits ---------------------------------------------------------------------------------

void TrustDesk::on_pending(const pb::PendingSync& sync) {
  if (sync.parts() == 0 || sync.part() >= sync.parts() || sync.sync_id() <= applied_ ||
      sync.sync_id() < collecting_) {
    return;
  }
  if (sync.sync_id() > collecting_) parts_.clear();
  collecting_ = sync.sync_id();
  parts_[sync.part()] = sync;
  if (parts_.size() < sync.parts()) return;
  applied_ = collecting_;
  waiting_.clear();
  const std::string self = text(party_.identity->public_key());
  for (const auto& [number, part] : parts_) {
    for (const pb::Pending& p : part.pending()) {
      pb::Statement s;
      if (!verify_signed(p.request(), party_.relay_id, std::nullopt, s) || !s.has_trust_request() ||
          s.trust_request().from() != p.request().signer()) {
        hooks_.report(Level::kError, "the relay shows a request that nobody signed; ignored");
        continue;
      }
      const pb::TrustRequest& r = s.trust_request();
      const bool incoming = r.to() == self;
      const auto peer = key_of(incoming ? r.from() : r.to());
      if (!peer || (!incoming && r.from() != self)) continue;
      const auto digest = crypto::sha256({as_bytes(p.request().statement())});
      (void)keep(digest, p.request());
      waiting_.push_back({digest, incoming, *peer, p.peer_name(),
                          VirtualAddress::from_u64(p.peer_address()), r, p.received_ms(),
                          p.expires_ms()});
    }
  }
  parts_.clear();
}

void TrustDesk::on_told(const pb::Signed& signed_statement) {
  pb::Statement by_policy;
  if (pins_.operator_key &&
      verify_signed(signed_statement, party_.relay_id, pins_.operator_key, by_policy) &&
      by_policy.has_trust_grant()) {
    const pb::TrustGrant& g = by_policy.trust_grant();
    const bool own = g.from() == text(party_.identity->public_key());
    const auto peer = key_of(own ? g.to() : g.from());
    return hooks_.report(Level::kInfo, fmt::format("the relay's policy pairs this agent with {}",
                                                   peer ? crypto::to_did(*peer) : "somebody"));
  }
  const auto digest = crypto::sha256({as_bytes(signed_statement.statement())});
  if (!keep(digest, signed_statement)) return;
  const auto it = statements_.find(digest);
  const std::string who = crypto::to_did(*key_of(signed_statement.signer()));
  const pb::Statement& s = it->second;
  if (s.has_trust_grant()) {
    hooks_.report(Level::kInfo, fmt::format("{} has approved this agent's request", who));
  } else if (s.has_trust_reject()) {
    hooks_.report(Level::kWarn, fmt::format("{} has rejected this agent's request{}{}", who,
                                            s.trust_reject().reason().empty() ? "" : ": ",
                                            s.trust_reject().reason()));
  } else if (s.has_trust_revoke()) {
    hooks_.report(Level::kWarn, fmt::format("{} has ended the trust of a pair{}{}", who,
                                            s.trust_revoke().reason().empty() ? "" : ": ",
                                            s.trust_revoke().reason()));
  }
}

}  // namespace sluice::agent
