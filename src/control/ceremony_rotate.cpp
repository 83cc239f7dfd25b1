// An agent goes on under another key: the former one signed it, the successor agreed (wire.md §5).
// Address, name and pairs stay; what waits ends, since it names a key that speaks no more.
#include <algorithm>

#include "base/log.h"
#include "control/ceremony.h"
#include "control/ceremony_keys.h"
#include "crypto/hash.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr uint64_t kBetweenRotationsMs = 60'000;
constexpr size_t kMostRotationsADay = 16;  // each is kept for good
constexpr uint64_t kDayMs = 24ull * 3600 * 1000;

}  // namespace

OutcomeCode Ceremony::check_rotation(const AgentEntry& agent, const CheckedStatement& s) const {
  const pb::IdentityRotate& body = s.statement.identity_rotate();
  if (body.former().size() != 32 || body.successor().size() != 32 || body.consent().size() != 64 ||
      body.former() == body.successor()) {
    return OutcomeCode::kMalformed;
  }
  if (body.former() != as_text(agent.identity)) return OutcomeCode::kNotYours;
  const crypto::PublicKey successor = key_of(body.successor());
  if (!crypto::verify(successor, crypto::kLabelStatement,
                      {as_bytes(wire::encode_without_consent(s.statement))},
                      take<64>(as_bytes(body.consent()).data()))) {
    return OutcomeCode::kBadSignature;
  }
  // Its name in the configuration is its DID; the file would bring the former one back.
  if (agent.configured) return OutcomeCode::kConfigured;
  const uint64_t now = clock_.unix_ms();
  const auto since = [&](const FormerIdentity& f) { return now > f.at_ms ? now - f.at_ms : 0; };
  const size_t n = agent.formers.size();
  // One that lies ahead was made by a clock that was wrong.
  const bool just_now = n > 0 && agent.formers[n - 1].at_ms <= now + kBetweenRotationsMs &&
                        since(agent.formers[n - 1]) < kBetweenRotationsMs;
  if (just_now ||
      (n >= kMostRotationsADay && since(agent.formers[n - kMostRotationsADay]) < kDayMs)) {
    return OutcomeCode::kTooSoon;
  }
  return trust_.is_free(successor) && crypto::acceptable_identity(successor) &&
                 !enrolment_.busy(successor)
             ? OutcomeCode::kOk
             : OutcomeCode::kIdentityTaken;
}

void Ceremony::rotate(const AgentEntry& agent, CheckedStatement s, Done done) {
  if (const OutcomeCode code = check_rotation(agent, s); code != OutcomeCode::kOk) {
    return done({code, s.digest});
  }
  // Something of it is on its way to the disk under the former key: asked again, that is done.
  if (enrolment_.busy(agent.identity) || writes_pair_of(agent.identity)) return;
  const uint64_t now = clock_.unix_ms();
  const crypto::PublicKey former = agent.identity;
  const crypto::PublicKey successor = key_of(s.statement.identity_rotate().successor());
  Changes changes{crypto::to_did(former), now, {}};
  changes.list.push_back(RotationRow{former, successor, s.digest, s.bytes, now});
  std::vector<WaitingRequest> ended;
  for (const WaitingRequest* w : waiting_.from(agent.index)) ended.push_back(*w);
  for (const WaitingRequest* w : waiting_.to(former)) ended.push_back(*w);
  for (const WaitingRequest& w : ended) {
    changes.list.push_back(RequestEnd{w.row.digest, RequestState::kExpired, {}, {}, now});
  }
  writing_.insert(s.digest);
  rotating_.insert(agent.index);
  enrolment_.hold(former);
  enrolment_.hold(successor);
  store_.apply(std::move(changes),
               [this, index = agent.index, former, successor, digest = s.digest, now,
                ended = std::move(ended), done = std::move(done)](const Result<WriteTimes>& r) {
                 writing_.erase(digest);
                 rotating_.erase(index);
                 enrolment_.let_go(former);
                 enrolment_.let_go(successor);
                 if (!r) {
                   const bool taken = r.error().code == ErrorCode::kConflict;
                   return done({taken ? OutcomeCode::kIdentityTaken : OutcomeCode::kStore, digest});
                 }
                 remember(digest);
                 trust_.rotate(index, successor, digest, now);
                 if (rotated_) rotated_(index);
                 for (const WaitingRequest& w : ended) waiting_.end(w.row.digest);
                 spdlog::info("{} goes on as {}, signed by {}", trust_.agent(index).name,
                              crypto::to_did(successor), crypto::to_did(former));
                 // Its peers are told with its next Enrol, which names its end-to-end key under the
                 // new one.
                 done({OutcomeCode::kOk, digest});
                 for (const WaitingRequest& w : ended) {
                   show_waiting(w.requester);
                   show_waiting(w.row.receiver);
                 }
               });
}

void Ceremony::reconcile(const Snapshot& snapshot) {
  std::set<Digest> there;
  for (const RequestRow& r : snapshot.requests) there.insert(r.digest);
  std::vector<WaitingRequest> gone;
  for (const auto& [digest, w] : waiting_.all()) {
    if (!there.contains(digest) && !writing_.contains(digest)) gone.push_back(w);
  }
  for (const WaitingRequest& w : gone) waiting_.end(w.row.digest);
  for (const WaitingRequest& w : gone) {
    show_waiting(w.requester);
    show_waiting(w.row.receiver);
  }
}

bool Ceremony::writes_pair_of(const crypto::PublicKey& identity) const {
  return std::any_of(writing_pairs_.begin(), writing_pairs_.end(), [&](const IdentityPair& both) {
    return both.first == identity || both.second == identity;
  });
}

}  // namespace sluice::control
