#include "control/policies.h"

#include <set>

#include <fmt/format.h>

#include "base/log.h"

namespace sluice::control {
Policies::Policies(const Clock& clock, fabric::Qsbr& qsbr, TrustTable& trust, Channel& channel,
                   Ceremony& ceremony, Enrolment& enrolment, Store& store)
    : clock_(clock),
      qsbr_(qsbr),
      trust_(trust),
      channel_(channel),
      ceremony_(ceremony),
      enrolment_(enrolment),
      store_(store) {}

LoadedPolicy Policies::parse(std::string_view yaml) const {
  return parse_policy(yaml, [this](const std::string& text) -> std::optional<uint16_t> {
    const auto id = enrolment_.tenant(text);
    return id ? std::optional(*id) : std::nullopt;
  });
}

Result<void> Policies::restore(const Snapshot& snapshot) {
  row_ = snapshot.policy;
  if (row_.number == 0) return {};
  LoadedPolicy loaded = parse(row_.yaml);
  if (!loaded.problems.empty()) {
    return fail(ErrorCode::kStore,
                fmt::format("policy {} in the store cannot be read ({}): this release is older "
                            "than the one that took it, or the store is damaged",
                            row_.number, loaded.problems.front().text));
  }
  trust_.set_policy(std::move(loaded.policy));
  return {};
}

PolicyPreview Policies::preview(const Policy& policy) const {
  return {row_.number, compare(trust_.policy().policy(), policy), trust_.effect_of(policy)};
}

void Policies::apply(Policy policy, std::string yaml, uint64_t after, const std::string& actor,
                     Done done) {
  if (writing_ || proof_) {
    return done(fail(ErrorCode::kConflict, "another policy is being applied at the moment"));
  }
  if (after != row_.number) {
    return done(fail(ErrorCode::kConflict,
                     fmt::format("policy {} is in force, and not {} any more: look at the "
                                 "difference again",
                                 row_.number, after)));
  }
  const uint64_t now = clock_.unix_ms();
  PolicyRow row{row_.number + 1, std::move(yaml), now};
  PolicyAnswer answer{.number = row.number, .preview = preview(policy)};
  // A pair on other terms takes new slots, and its old ones rest.
  const PolicyEffect& effect = answer.preview.effect;
  if (const size_t slots = 2 * (size_t{effect.changed} + effect.resumed);
      slots > trust_.free_slots()) {
    return done(fail(ErrorCode::kResource,
                     fmt::format("this takes {} free edge slots and there are {}: raise "
                                 "limits.edges, or wait until slots have rested for 180 s",
                                 slots, trust_.free_slots())));
  }
  writing_ = true;
  store_.apply({actor, now, {row}},
               [this, row, policy = std::move(policy), answer = std::move(answer),
                done = std::move(done)](const Result<WriteTimes>& r) mutable {
                 writing_ = false;
                 if (!r) return done(tl::unexpected(r.error()));
                 row_ = std::move(row);
                 answer.sync_us = double(r->sync_us);
                 enforce(std::move(policy), std::move(answer), std::move(done));
               });
}

void Policies::enforce(Policy policy, PolicyAnswer answer, Done done) {
  const uint64_t started = clock_.ticks();
  const auto changed = trust_.set_policy(std::move(policy));
  proof_ = Proof{qsbr_.start(), started, std::move(answer), std::move(done)};
  std::set<uint32_t> agents;
  for (const PairKey& pair : changed) agents.insert({pair.first, pair.second});
  for (const uint32_t agent : agents) channel_.sync_edges(agent);
  ceremony_.policy_changed();
  spdlog::warn("policy {} is in force: {} pairs suspended, {} resumed, {} on other terms",
               row_.number, proof_->answer.preview.effect.suspended,
               proof_->answer.preview.effect.resumed, proof_->answer.preview.effect.changed);
}

void Policies::reconcile(const Snapshot& snapshot) {
  if (snapshot.policy.number <= row_.number || writing_ || proof_) return;
  LoadedPolicy loaded = parse(snapshot.policy.yaml);
  if (!loaded.problems.empty()) {
    spdlog::error("policy {} is in the store and cannot be read: {}", snapshot.policy.number,
                  loaded.problems.front().text);
    return;
  }
  row_ = snapshot.policy;
  PolicyAnswer answer{.number = row_.number, .preview = preview(loaded.policy)};
  enforce(std::move(loaded.policy), std::move(answer), [](const Result<PolicyAnswer>&) {});
}

bool Policies::poll() {
  if (!proof_) return false;
  const bool passed = qsbr_.passed(proof_->token);
  if (!passed && clock_.ticks() - proof_->started <= clock_.ticks_from_ms(fabric::kProofMs))
    return true;
  Proof proof = std::move(*proof_);
  proof_.reset();
  proof.answer.cut_us = clock_.us_from_ticks(clock_.ticks() - proof.started);
  proof.answer.proven = passed;
  proof.done(std::move(proof.answer));
  return true;
}

}  // namespace sluice::control
