// The operator's policy against agents that ask: who may, who need not, what it bounds, and what
// happens to those who agreed before it came. Requests across tenants and their operators'
// consents.
#include "packet/ceremony_fixture.h"

namespace rig {
namespace {

namespace fabric = sluice::fabric;

class PolicyRules : public Ceremony {
 protected:
  using Ceremony::Ceremony;

  control::PolicyAnswer apply(const std::string& yaml) {
    auto loaded = r.control->policies().parse(yaml);
    EXPECT_TRUE(loaded.problems.empty()) << loaded.problems.at(0).text;
    std::optional<sluice::Result<control::PolicyAnswer>> answer;
    r.control->policies().apply(std::move(loaded.policy), yaml, r.control->policies().row().number,
                                "test", [&](auto a) { answer = std::move(a); });
    EXPECT_TRUE(r.poll_until([&] { return answer.has_value(); }));
    EXPECT_TRUE(answer->has_value());
    return **answer;
  }
  pb::Statement with_scope(pb::Statement s, const char* scope) {
    s.mutable_trust_request()->mutable_asked()->add_scopes(scope);
    return s;
  }
  void make_public(Agent& a) {
    pb::Statement enrol = blank();
    enrol.set_issued_ms(r.clock.unix_ms() + 1);
    enrol.mutable_enrol()->set_name(a.name);
    enrol.mutable_enrol()->set_visibility(1);
    enrol.mutable_enrol()->set_e2e_key(raw(a.peer.e2e_public()));
    EXPECT_EQ(submit(a, sign(a, enrol)), "ok");
  }
  // Requests in the newest list that the relay has sent the agent.
  size_t shown_to(Agent& a) {
    for (int i = 0; i < 10; ++i) {
      r.clock.advance_ms(5);
      r.poll(2);
      (void)r.receive(a);
    }
    return a.pending.size();
  }
  std::string waits_for() {
    const auto& all = r.control->ceremony().waiting().all();
    return all.size() == 1 ? r.control->ceremony().waits_for(all.begin()->second) : "?";
  }
};

TEST_F(PolicyRules, WhoMayNotAskIsToldOnlyWhatItCouldKnow) {
  apply("rules: [{ from: alpha, to: beta, action: deny }]");
  // beta is private: the answer is that to anybody whom alpha cannot see, and beta hears nothing.
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, beta))), "ok");
  EXPECT_EQ(waits_for(), "policy");
  EXPECT_EQ(submit(beta, sign(beta, grant(sign(alpha, request(alpha, beta)), beta))),
            "unknown_request");
  make_public(beta);
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, beta))), "policy");
  EXPECT_EQ(submit(gamma, sign(gamma, request(gamma, beta))), "ok") << "the rule is not hers";
  EXPECT_EQ(submit(beta, sign(beta, request(beta, alpha))), "ok") << "nor for the other direction";
  EXPECT_EQ(pairs(), 0u);
  // A rule that means everybody is told to everybody.
  apply("default: deny");
  EXPECT_EQ(submit(gamma, sign(gamma, request(gamma, std::string(32, 'q')))), "policy");
}

TEST_F(PolicyRules, UnderDenyARuleLetsWhomNobodySeesBeAsked) {
  apply("default: deny\nrules: [{ from: alpha, to: beta, scopes: [] }]");
  // The same answer, whoever it is for.
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, std::string(32, 'q')))), "ok");
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, gamma))), "ok");
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(shown_to(beta), 1u);
  EXPECT_EQ(shown_to(gamma), 0u);
  EXPECT_EQ(submit(beta, sign(beta, grant(asked, beta))), "ok");
  EXPECT_TRUE(reaches(alpha, beta));
  // Nobody whom it may ask, or nothing that it may ask for.
  EXPECT_EQ(submit(gamma, sign(gamma, request(gamma, beta))), "policy");
  EXPECT_EQ(submit(alpha, sign(alpha, with_scope(request(alpha, gamma), "x"))), "policy");
}

TEST_F(PolicyRules, WhatIsSuspendedEndsWithItsAgent) {
  (void)agree();
  apply("rules: [{ from: alpha, to: beta, action: deny, for: 1s }]");
  EXPECT_EQ(pairs(), 1u);
  r.clock.advance_ms(5'000);
  r.poll(20);
  EXPECT_EQ(pairs(), 1u) << "a suspended pair keeps its own time";
  std::optional<control::RevocationAnswer> cut;
  r.control->revocations().revoke(control::cut_of(*r.control->trust().resolve("alpha"), "gone"),
                                  [&](const auto& a) { cut = a; });
  ASSERT_TRUE(r.poll_until([&] { return cut.has_value(); }));
  EXPECT_EQ(pairs(), 0u);
  const auto stored = r.control->store().load();
  ASSERT_TRUE(stored);
  EXPECT_TRUE(stored->pairs.empty());
}

TEST_F(PolicyRules, AHeldRequestCannotBeGranted) {
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(shown_to(beta), 1u);
  apply("rules: [{ from: alpha, to: beta, action: deny }]");
  EXPECT_EQ(shown_to(beta), 0u);
  EXPECT_EQ(submit(beta, sign(beta, grant(asked, beta))), "unknown_request");
  EXPECT_EQ(pairs(), 0u);
  apply("default: ask");
  EXPECT_EQ(waits_for(), "receiver");
  EXPECT_EQ(shown_to(beta), 1u);
  EXPECT_EQ(submit(beta, sign(beta, grant(asked, beta))), "ok");
  EXPECT_TRUE(reaches(alpha, beta));
}

TEST_F(PolicyRules, ApprovesInTheReceiversPlace) {
  apply(
      "rules: [{ from: \"al*\", to: beta, action: approve, for: 1h, seal: header, "
      "rate: { packets_per_s: 777 } }]");
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(pairs(), 1u);
  EXPECT_EQ(waiting(), 0u);
  const auto& edges = r.control->trust().edges();
  ASSERT_EQ(edges.size(), 2u);
  for (const control::EdgeEntry& e : edges) {
    const bool ruled = e.from == r.control->trust().resolve("alpha")->index;
    EXPECT_EQ(e.terms.seal, ruled ? fabric::SealPolicy::kHeader : fabric::SealPolicy::kFull);
    EXPECT_EQ(e.terms.rate.packets_per_s, ruled ? 777u : 0u);
    EXPECT_EQ(r.arena->edges()[e.slot].seals,
              fabric::seals_of(ruled ? fabric::SealPolicy::kHeader : fabric::SealPolicy::kFull));
  }
  const auto* g = r.control->trust().agreement_of(edges.begin()->from, digest_bytes(asked));
  ASSERT_NE(g, nullptr);
  EXPECT_EQ(g->ends_ms, g->made_ms + 3'600'000);
  // The relay's operator signed the grant, and both agents are given it.
  std::vector<pb::Statement> told;
  for (Agent* a : {&alpha, &beta}) {
    for (int i = 0; i < 10; ++i) {
      r.clock.advance_ms(5);
      r.poll(2);
      (void)r.receive(*a);
    }
    for (const pb::Signed& s : a->told) {
      if (s.signer() != raw(r.keys.operator_key.public_key())) continue;
      EXPECT_TRUE(told.emplace_back().ParseFromString(s.statement()));
    }
  }
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[0].trust_grant().request(), digest_of(asked));
  EXPECT_EQ(told[0].trust_grant().e2e_key(), raw(beta.peer.e2e_public()));
  // The same request again makes nothing new; the other direction is not approved.
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(pairs(), 1u);
  EXPECT_EQ(submit(gamma, sign(gamma, request(gamma, beta))), "ok");
  EXPECT_EQ(pairs(), 1u);
}

TEST_F(PolicyRules, BoundsWhatMayBeAskedFor) {
  make_public(beta);
  apply("rules: [{ from: \"*\", to: beta, scopes: [read], protocols: [] }]");
  EXPECT_EQ(submit(alpha, sign(alpha, with_scope(request(alpha, beta), "write"))), "policy");
  EXPECT_EQ(submit(alpha, sign(alpha, with_scope(request(alpha, beta), "read"))), "ok");
  pb::Statement s = request(gamma, beta);
  s.mutable_trust_request()->mutable_offered()->add_protocols("mcp");
  EXPECT_EQ(submit(gamma, sign(gamma, s)), "policy");
}

TEST_F(PolicyRules, SuspendsWhatWasAgreedBeforeAndResumesIt) {
  (void)agree();
  ASSERT_TRUE(reaches(alpha, beta));
  const std::string denying = "rules: [{ from: alpha, to: beta, action: deny }]";
  const auto preview = r.control->policies().preview(r.control->policies().parse(denying).policy);
  EXPECT_EQ(preview.effect.suspended, 1u);
  EXPECT_EQ(preview.number, 0u);
  EXPECT_TRUE(reaches(alpha, beta)) << "looking changes nothing";
  const auto answer = apply(denying);
  EXPECT_TRUE(answer.proven);
  EXPECT_EQ(answer.number, 1u);
  EXPECT_EQ(answer.preview.effect.suspended, 1u);
  EXPECT_TRUE(r.control->trust().edges().empty());
  EXPECT_EQ(pairs(), 1u) << "the agreement itself stands";
  EXPECT_FALSE(reaches(alpha, beta));
  EXPECT_EQ(apply("default: ask").preview.effect.resumed, 1u);
  EXPECT_TRUE(reaches(alpha, beta));
}

TEST_F(PolicyRules, ASuspendedAgreementEndsWithItsTimeAndByRevocation) {
  const auto [asked, granted] = agree();
  apply("rules: [{ from: alpha, to: beta, action: deny }]");
  EXPECT_EQ(submit(beta, sign(beta, revoke(digest_of(asked), digest_of(granted)))), "ok");
  EXPECT_EQ(pairs(), 0u);
  EXPECT_EQ(apply("default: ask").preview.effect.resumed, 0u);
  EXPECT_FALSE(reaches(alpha, beta));
}

TEST_F(PolicyRules, ALongestLifeHoldsForWhatStandsToo) {
  (void)agree();
  ASSERT_TRUE(reaches(alpha, beta));
  r.clock.advance_ms(2'000);
  EXPECT_EQ(apply("rules: [{ from: \"*\", to: \"*\", for: 1h }]").preview.effect.changed, 1u);
  EXPECT_TRUE(reaches(alpha, beta));
  // The workers' own clock ends it, before control has looked.
  apply("rules: [{ from: \"*\", to: \"*\", for: 4s }]");
  ASSERT_TRUE(reaches(alpha, beta));
  const uint32_t label = alpha.labels.at("beta");
  r.clock.advance_ms(3'000);
  const auto before = r.counters();
  r.send(alpha, alpha.peer.seal(1, 0, label, 0, {}, Buf(30, 1)));
  r.poll_workers();
  EXPECT_EQ(r.counters()["forwarded"], before.at("forwarded"));
  apply("rules: [{ from: \"*\", to: \"*\", for: 1s }]");
  EXPECT_TRUE(r.control->trust().edges().empty()) << "its second is over";
  EXPECT_TRUE(r.poll_until([&] { return pairs() == 0; }));
}

TEST_F(PolicyRules, OneAtATimeAndOnlyAgainstWhatWasShown) {
  const std::string yaml = "default: deny";
  auto& policies = r.control->policies();
  std::vector<sluice::Result<control::PolicyAnswer>> answers;
  const auto take = [&](auto a) { answers.push_back(std::move(a)); };
  policies.apply(policies.parse(yaml).policy, yaml, 5, "test", take);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error().code, sluice::ErrorCode::kConflict);
  policies.apply(policies.parse(yaml).policy, yaml, 0, "test", take);
  policies.apply(policies.parse(yaml).policy, yaml, 0, "test", take);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[1].error().code, sluice::ErrorCode::kConflict);
  ASSERT_TRUE(r.poll_until([&] { return answers.size() == 3; }));
  EXPECT_TRUE(answers[2].has_value());
  EXPECT_EQ(policies.row().number, 1u);
}

// --- Across tenants -----------------------------------------------------------------------------

class AcrossTenants : public PolicyRules {
 protected:
  AcrossTenants() : PolicyRules(true) {}

  sluice::ErrorCode consent(const pb::Signed& asked, uint16_t tenant) {
    std::optional<sluice::Result<void>> answer;
    r.control->ceremony().consent(digest_bytes(asked), tenant, "test",
                                  [&](auto a) { answer = std::move(a); });
    EXPECT_TRUE(r.poll_until([&] { return answer.has_value(); }));
    return *answer ? sluice::ErrorCode::kInternal : answer->error().code;
  }
  static constexpr auto kGood = sluice::ErrorCode::kInternal;  // no error at all
};

TEST_F(AcrossTenants, ItTakesTheOperatorsOfBoth) {
  const pb::Signed asked = sign(alpha, request(alpha, *delta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(waits_for(), "consent");
  pb::Statement g = grant(asked, *delta);
  g.set_tenant(8);
  const pb::Signed granted = sign(*delta, g);
  EXPECT_EQ(submit(*delta, granted), "unknown_request");
  EXPECT_EQ(consent(asked, 9), sluice::ErrorCode::kConflict);
  EXPECT_EQ(consent(asked, 8), kGood);
  EXPECT_EQ(waits_for(), "consent");
  EXPECT_EQ(submit(*delta, granted), "unknown_request");
  EXPECT_EQ(consent(asked, 7), kGood);
  EXPECT_EQ(waits_for(), "receiver");
  EXPECT_EQ(submit(*delta, granted), "ok");
  EXPECT_TRUE(reaches(alpha, *delta));
  EXPECT_TRUE(reaches(*delta, alpha));
}

TEST_F(AcrossTenants, OrAPolicyThatNamesBoth) {
  const pb::Signed asked = sign(alpha, request(alpha, *delta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  apply("rules: [{ from: \"*@7\", to: \"*\" }]");
  EXPECT_EQ(waits_for(), "consent") << "one tenant is not both";
  apply("default: deny\nrules: [{ from: \"*@7\", to: \"*@8\" }]");
  EXPECT_EQ(waits_for(), "receiver");
  pb::Statement g = grant(asked, *delta);
  g.set_tenant(8);
  EXPECT_EQ(submit(*delta, sign(*delta, g)), "ok");
  EXPECT_TRUE(reaches(alpha, *delta));
}

TEST_F(AcrossTenants, OneOperatorIsNotBoth) {
  const pb::Signed asked = sign(alpha, request(alpha, *delta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(consent(asked, 7), kGood);
  EXPECT_EQ(waits_for(), "consent");
}

TEST_F(AcrossTenants, ApprovalDoesNotReplaceConsent) {
  apply("rules: [{ from: alpha, to: delta, action: approve }]");
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, *delta))), "ok");
  EXPECT_EQ(pairs(), 0u);
  EXPECT_EQ(waits_for(), "consent");
}

TEST_F(AcrossTenants, WithinOneThereIsNothingToConsentTo) {
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(consent(asked, 7), sluice::ErrorCode::kConflict);
  EXPECT_EQ(consent(sign(alpha, request(alpha, beta)), 7), sluice::ErrorCode::kNotFound);
}

}  // namespace
}  // namespace rig
