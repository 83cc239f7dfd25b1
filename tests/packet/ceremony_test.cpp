// Statements that agents submit, made by the tests' own hand: what makes a pair, and everything
// that must not.
#include "packet/ceremony_fixture.h"

#include <random>

#include "support/full_disk.h"

namespace rig {
namespace {

TEST_F(Ceremony, RequestAndGrantMakeAPairAndNothingLessDoes) {
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  EXPECT_FALSE(reaches(alpha, beta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(waiting(), 1u);
  EXPECT_FALSE(reaches(alpha, beta));
  EXPECT_EQ(submit(beta, sign(beta, grant(asked, beta))), "ok");
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(pairs(), 1u);
  EXPECT_TRUE(reaches(alpha, beta));
  EXPECT_TRUE(reaches(beta, alpha));
  EXPECT_FALSE(reaches(gamma, beta));
}

TEST_F(Ceremony, TheSameStatementAgainChangesNothing) {
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(waiting(), 1u);
  const pb::Signed granted = sign(beta, grant(asked, beta));
  EXPECT_EQ(submit(beta, granted), "ok");
  const uint32_t label = r.control->trust().edges().begin()->label;
  EXPECT_EQ(submit(beta, granted), "ok");
  EXPECT_EQ(pairs(), 1u);
  EXPECT_EQ(r.control->trust().edges().begin()->label, label) << "the pair was made anew";
  // The request that was granted does not wait once more.
  EXPECT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(waiting(), 0u);
}

TEST_F(Ceremony, WhatIsNotSignedByItsSpeakerIsRefused) {
  const pb::Statement s = request(alpha, beta);
  pb::Signed forged = sign(alpha, s);
  (*forged.mutable_signature())[10] ^= 1;
  EXPECT_EQ(submit(alpha, forged), "bad_signature");
  EXPECT_EQ(submit(gamma, sign(alpha, s)), "not_yours") << "another's statement over one's session";
  EXPECT_EQ(submit(gamma, sign(gamma, s)), "not_yours") << "speaking for another";
  pb::Signed altered = sign(alpha, s);
  pb::Statement other = s;
  other.mutable_trust_request()->set_justification("something else");
  altered.set_statement(other.SerializeAsString());
  EXPECT_EQ(submit(alpha, altered), "bad_signature") << "the justification is under the signature";
  for (const char* label : {"sluice-hello/1", "sluice-call/1", "sluice-accept/1", ""}) {
    EXPECT_EQ(submit(alpha, sign(alpha, s, label)), "bad_signature") << label;
  }
  EXPECT_EQ(waiting(), 0u);
}

TEST_F(Ceremony, StatementsForAnotherRelayTenantOrTimeAreRefused) {
  pb::Statement s = request(alpha, beta);
  s.set_relay_key(std::string(32, 'x'));
  EXPECT_EQ(submit(alpha, sign(alpha, s)), "wrong_relay");
  s = request(alpha, beta);
  s.set_tenant(8);
  EXPECT_EQ(submit(alpha, sign(alpha, s)), "wrong_tenant");
  for (const int64_t off : {-121'000, 121'500}) {
    s = request(alpha, beta);
    s.set_issued_ms(static_cast<uint64_t>(int64_t(r.clock.unix_ms()) + off));
    EXPECT_EQ(submit(alpha, sign(alpha, s)), "stale") << off;
  }
  s = request(alpha, beta);
  s.mutable_trust_request()->set_expires_ms(s.issued_ms());
  EXPECT_EQ(submit(alpha, sign(alpha, s)), "stale") << "it ends before it begins";
  s = request(alpha, beta);
  s.set_issued_ms(r.clock.unix_ms() - 110'000);
  EXPECT_EQ(submit(alpha, sign(alpha, s)), "ok") << "within two minutes";
}

TEST_F(Ceremony, MalformedOnesAreRefusedAndChangeNothing) {
  const auto with = [&](auto change) {
    pb::Statement s = request(alpha, beta);
    change(*s.mutable_trust_request());
    return submit(alpha, sign(alpha, s));
  };
  using R = pb::TrustRequest&;
  EXPECT_EQ(with([](R b) { b.set_justification(""); }), "malformed");
  EXPECT_EQ(with([](R b) { b.set_justification(std::string(257, 'a')); }), "malformed");
  EXPECT_EQ(with([](R b) { b.set_justification("two\nlines"); }), "malformed");
  EXPECT_EQ(with([](R b) { b.set_to(b.from()); }), "malformed");
  EXPECT_EQ(with([](R b) { b.set_to("short"); }), "malformed");
  EXPECT_EQ(with([](R b) { b.set_e2e_key(""); }), "malformed");
  EXPECT_EQ(with([](R b) { b.set_nonce("short"); }), "malformed");
  EXPECT_EQ(with([](R b) { b.mutable_asked()->set_right(static_cast<pb::Right>(9)); }),
            "malformed");
  EXPECT_EQ(with([](R b) {
              for (int i = 0; i < 17; ++i) b.mutable_asked()->add_scopes("s" + std::to_string(i));
            }),
            "malformed");
  // Bytes after the message, or a field that nobody knows.
  pb::Signed s = sign(alpha, request(alpha, beta));
  s.set_statement(s.statement() + std::string("\xf8\x07\x01", 3));
  s.set_signature(raw(alpha.peer.sign("sluice-statement/1", buf(s.statement()))));
  EXPECT_EQ(submit(alpha, s), "malformed");
  pb::Statement none = blank();
  EXPECT_EQ(submit(alpha, sign(alpha, none)), "malformed") << "no body";
  EXPECT_EQ(waiting(), 0u);
}

TEST_F(Ceremony, OnlyTheOneWhoWasAskedApproves) {
  const pb::Signed asked = sign(alpha, request(alpha, beta));
  ASSERT_EQ(submit(alpha, asked), "ok");
  EXPECT_EQ(submit(gamma, sign(gamma, grant(asked, gamma))), "not_yours");
  pb::Statement as_own = grant(asked, gamma);
  as_own.mutable_trust_grant()->set_to(raw(gamma.peer.identity()));
  EXPECT_EQ(submit(gamma, sign(gamma, as_own)), "unknown_request");
  EXPECT_EQ(submit(alpha, sign(alpha, grant(asked, alpha))), "not_yours");
  pb::Statement reject = blank();
  reject.mutable_trust_reject()->set_request(digest_of(asked));
  EXPECT_EQ(submit(gamma, sign(gamma, reject)), "unknown_request");
  EXPECT_EQ(pairs(), 0u);
  EXPECT_EQ(waiting(), 1u);
}

TEST_F(Ceremony, NoMoreIsGrantedThanWasAskedAndOffered) {
  pb::Statement s = request(alpha, beta);
  auto& body = *s.mutable_trust_request();
  body.mutable_asked()->set_right(pb::MAY_OPEN);
  body.mutable_asked()->add_scopes("read");
  body.mutable_offered()->clear_right();
  body.set_expires_ms(s.issued_ms() + 3'600'000);
  const pb::Signed asked = sign(alpha, s);
  ASSERT_EQ(submit(alpha, asked), "ok");
  const auto with = [&](auto change) {
    pb::Statement g = grant(asked, beta);
    change(*g.mutable_trust_grant());
    return submit(beta, sign(beta, g));
  };
  using G = pb::TrustGrant&;
  EXPECT_EQ(with([](G g) { g.mutable_asked()->set_right(pb::MAY_SEND); }), "exceeds");
  EXPECT_EQ(with([](G g) { g.mutable_asked()->add_scopes("write"); }), "exceeds");
  EXPECT_EQ(with([](G g) { g.mutable_offered()->set_right(pb::MAY_SEND); }), "exceeds");
  EXPECT_EQ(with([&](G g) { g.set_expires_ms(body.expires_ms() + 1); }), "exceeds");
  EXPECT_EQ(pairs(), 0u);
  EXPECT_EQ(with([](G g) { g.mutable_asked()->clear_scopes(); }), "ok") << "less may be";
  const auto& edges = r.control->trust().edges();
  ASSERT_EQ(edges.size(), 2u);
  for (const control::EdgeEntry& e : edges) {
    const bool forward = e.from == r.control->trust().resolve("alpha")->index;
    EXPECT_EQ(e.terms.right,
              forward ? control::EdgeRight::kMayOpen : control::EdgeRight::kReplyOnly);
  }
}

TEST_F(Ceremony, CrossedRequestsAgreeWhereEachOffersWhatTheOtherAsks) {
  pb::Statement first = request(alpha, beta);
  first.mutable_trust_request()->mutable_offered()->clear_right();
  ASSERT_EQ(submit(alpha, sign(alpha, first)), "ok");
  // beta wants to send, which alpha does not offer.
  EXPECT_EQ(submit(beta, sign(beta, request(beta, alpha))), "ok");
  EXPECT_EQ(pairs(), 0u);
  EXPECT_EQ(waiting(), 2u);
  // Nor is it enough that beta asks for nothing, if it does not offer what alpha asks.
  pb::Statement offers_nothing = request(beta, alpha);
  offers_nothing.mutable_trust_request()->mutable_asked()->clear_right();
  offers_nothing.mutable_trust_request()->mutable_offered()->clear_right();
  EXPECT_EQ(submit(beta, sign(beta, offers_nothing)), "ok");
  EXPECT_EQ(pairs(), 0u);
  pb::Statement third = request(beta, alpha);
  third.mutable_trust_request()->mutable_asked()->clear_right();
  pb::Control message;
  *message.mutable_submit() = sign(beta, third);
  const pb::Control answer = ask(beta, message);
  EXPECT_EQ(answer.outcome().code(), "ok");
  EXPECT_TRUE(answer.outcome().agreed());
  EXPECT_EQ(pairs(), 1u);
  EXPECT_TRUE(reaches(alpha, beta));
}

TEST_F(Ceremony, EitherSideEndsItAndOldStatementsDoNotBringItBack) {
  const auto [asked, granted] = agree();
  ASSERT_TRUE(reaches(alpha, beta));
  EXPECT_EQ(submit(gamma, sign(gamma, revoke(digest_of(asked), digest_of(granted)))), "not_agreed");
  EXPECT_EQ(submit(beta, sign(beta, revoke(digest_of(asked), std::string(32, 'x')))), "not_agreed");
  ASSERT_TRUE(reaches(alpha, beta));
  const pb::Signed ended = sign(beta, revoke(digest_of(asked), digest_of(granted)));
  const pb::Signed late = sign(alpha, request(alpha, beta));  // signed before the end
  EXPECT_EQ(submit(beta, ended), "ok");
  EXPECT_EQ(pairs(), 0u);
  EXPECT_TRUE(r.control->trust().edges().empty());
  const uint64_t forwarded = r.counters()["forwarded"];
  EXPECT_FALSE(reaches(alpha, beta));
  EXPECT_EQ(r.counters()["forwarded"], forwarded);
  // The old grant again, a new grant of the old request, and a request from before the end.
  (void)submit(beta, granted);
  EXPECT_EQ(submit(beta, sign(beta, grant(asked, beta))), "unknown_request");
  EXPECT_EQ(submit(alpha, late), "revoked_before");
  EXPECT_EQ(pairs(), 0u);
  // A new ceremony, and the old revocation does not end it.
  const auto [asked2, granted2] = agree();
  EXPECT_EQ(pairs(), 1u);
  EXPECT_NE(digest_of(granted2), digest_of(granted));
  (void)submit(beta, ended);
  EXPECT_EQ(submit(beta, sign(beta, revoke(digest_of(asked), digest_of(granted)))), "not_agreed");
  EXPECT_EQ(submit(alpha, sign(alpha, revoke(digest_of(asked2), digest_of(granted)))),
            "not_agreed");
  EXPECT_EQ(pairs(), 1u);
  EXPECT_TRUE(reaches(alpha, beta));
}

TEST_F(Ceremony, TrustEndsWithItsTime) {
  pb::Statement s = request(alpha, beta);
  s.mutable_trust_request()->set_expires_ms(s.issued_ms() + 20'000);
  const pb::Signed asked = sign(alpha, s);
  ASSERT_EQ(submit(alpha, asked), "ok");
  ASSERT_EQ(submit(beta, sign(beta, grant(asked, beta))), "ok");
  ASSERT_TRUE(reaches(alpha, beta));
  const uint32_t label = alpha.labels.at("beta");
  r.clock.advance_ms(20'000);
  // The workers' own clock, before control has looked.
  const auto before = r.counters();
  r.send(alpha, alpha.peer.seal(1, 0, label, 0, {}, Buf(30, 1)));
  r.poll_workers();
  EXPECT_EQ(r.counters()["forwarded"], before.at("forwarded"));
  EXPECT_TRUE(r.poll_until([&] { return pairs() == 0; }));
  EXPECT_TRUE(r.control->trust().edges().empty());
}

TEST_F(Ceremony, RequestsAreBounded) {
  unsigned taken = 0;
  std::string code;
  for (unsigned i = 0; i < 40 && code != "too_many"; ++i) {
    code = submit(alpha, sign(alpha, request(alpha, raw(Buf(32, static_cast<uint8_t>(i + 100))))));
    taken += code == "ok" ? 1 : 0;
  }
  EXPECT_EQ(code, "too_many");
  EXPECT_EQ(taken, 32u);
  EXPECT_EQ(waiting(), 32u);
  // Taken back, there is room again.
  const std::string one = raw(r.control->ceremony().waiting().all().begin()->first);
  EXPECT_EQ(submit(alpha, sign(alpha, revoke(one, ""))), "ok");
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, beta))), "ok");
}

TEST_F(Ceremony, OnAFullDiskNothingIsAgreedAndEverythingCanBeTriedAgain) {
  const pb::Signed first = sign(alpha, request(alpha, beta));
  {
    const FullDisk full;
    EXPECT_EQ(submit(alpha, first), "store");
    EXPECT_EQ(waiting(), 0u) << "what is not on disk is shown to nobody";
  }
  EXPECT_EQ(submit(alpha, first), "ok");
  const pb::Signed granted = sign(beta, grant(first, beta));
  {
    const FullDisk full;
    EXPECT_EQ(submit(beta, granted), "store");
    EXPECT_EQ(pairs(), 0u);
    EXPECT_FALSE(reaches(alpha, beta)) << "trust before it is durable";
  }
  EXPECT_EQ(submit(beta, granted), "ok");
  EXPECT_TRUE(reaches(alpha, beta));
  {
    const FullDisk full;
    // Less trust needs no disk, only its memory does: cut at once, and said so.
    EXPECT_EQ(submit(alpha, sign(alpha, revoke(digest_of(first), digest_of(granted)))),
              "not_durable");
    EXPECT_FALSE(reaches(alpha, beta));
    EXPECT_FALSE(reaches(beta, alpha));
  }
  EXPECT_EQ(pairs(), 0u);
  // Traffic of pairs that stand knows nothing of the disk.
  const pb::Signed second = sign(gamma, request(gamma, beta));
  EXPECT_EQ(submit(gamma, second), "ok");
  EXPECT_EQ(submit(beta, sign(beta, grant(second, beta))), "ok");
  {
    const FullDisk full;
    EXPECT_TRUE(reaches(gamma, beta));
    EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, gamma))), "store");
    EXPECT_TRUE(reaches(beta, gamma));
  }
}

// A label that is not the agent's own dies without a sound, whoever's it may be.
TEST_F(Ceremony, AHundredThousandGuessedLabelsReachNobody) {
  const auto before = r.counters();
  std::mt19937 random(7);
  unsigned sent = 0, heard = 0;
  r.drain_all();
  while (sent < 100'000) {
    for (unsigned i = 0; i < 32; ++i, ++sent) {
      // Small slots too, which are in use, in every generation.
      const auto label = static_cast<uint32_t>(sent % 2 ? random() : (random() & 0xff00001f));
      r.inject(alpha.port,
               oracle::udp_frame(alpha.flow, alpha.peer.seal(1, 0, label, 0, {}, Buf(24))),
               alpha.queue);
    }
    r.poll_workers();
    heard += static_cast<unsigned>(r.drain_all().size());
  }
  EXPECT_EQ(heard, 0u);
  EXPECT_EQ(r.counters()["drop.no_edge"] - before.at("drop.no_edge"), sent);
  EXPECT_EQ(r.counters()["forwarded"], before.at("forwarded"));
}

// The answers' bytes are the same for whoever is not there, not to be found, or no longer there.
TEST_F(Ceremony, AStrangerLearnsNothing) {
  std::optional<control::RevocationAnswer> cut;
  r.control->revocations().revoke(control::cut_of(*r.control->trust().resolve("gamma"), "gone"),
                                  [&](const auto& a) { cut = a; });
  ASSERT_TRUE(r.poll_until([&] { return cut.has_value(); }));
  const auto address = [&](const char* name) {
    return r.control->trust().resolve(name)->address.to_u64();
  };
  const std::string nobody = lookup_answer(alpha, "nobody-at-all");
  EXPECT_EQ(lookup_answer(alpha, "beta"), nobody) << "private";
  EXPECT_EQ(lookup_answer(alpha, "gamma"), nobody) << "revoked";
  EXPECT_EQ(lookup_answer(alpha, "BETA"), nobody) << "misspelt";
  EXPECT_EQ(lookup_answer(alpha, "", address("beta")), nobody);
  EXPECT_EQ(lookup_answer(alpha, "", address("gamma")), nobody);
  EXPECT_EQ(lookup_answer(alpha, "", (uint64_t{7} << 32) | 12345), nobody);
  EXPECT_EQ(lookup_answer(alpha, "", ~uint64_t{0}), nobody);
  for (const Agent* to : {&beta, &gamma}) {
    EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, *to))), "ok");
  }
  EXPECT_EQ(submit(alpha, sign(alpha, request(alpha, std::string(32, 'q')))), "ok");
  // Once beta says that it may be found, it is.
  pb::Statement enrol = blank();
  enrol.set_issued_ms(r.clock.unix_ms() + 1);
  enrol.mutable_enrol()->set_name("beta");
  enrol.mutable_enrol()->set_visibility(1);
  enrol.mutable_enrol()->set_e2e_key(raw(beta.peer.e2e_public()));
  EXPECT_EQ(submit(beta, sign(beta, enrol)), "ok");
  EXPECT_NE(lookup_answer(alpha, "beta"), nobody);
  // Going back to private takes a later statement, not an older one.
  enrol.set_issued_ms(enrol.issued_ms() - 1);
  enrol.mutable_enrol()->clear_visibility();
  EXPECT_EQ(submit(beta, sign(beta, enrol)), "stale");
  EXPECT_NE(lookup_answer(alpha, "beta"), nobody);
}

TEST_F(Ceremony, TheRevokedMakeNoTrust) {
  const pb::Signed asked = sign(gamma, request(gamma, beta));
  ASSERT_EQ(submit(gamma, asked), "ok");
  std::optional<control::RevocationAnswer> cut;
  r.control->revocations().revoke(control::cut_of(*r.control->trust().resolve("gamma"), "gone"),
                                  [&](const auto& a) { cut = a; });
  ASSERT_TRUE(r.poll_until([&] { return cut.has_value(); }));
  EXPECT_EQ(submit(beta, sign(beta, grant(asked, beta))), "unknown_request");
  EXPECT_EQ(pairs(), 0u);
}

TEST_F(Ceremony, ManyAreCutAtOnce) {
  (void)agree();
  const auto commits = r.control->store().commits();
  std::optional<control::RevocationAnswer> cut;
  control::Cut what;
  for (const char* name : {"alpha", "beta", "gamma"}) {
    what.agents.push_back(r.control->trust().resolve(name)->index);
  }
  what.reason = "all of them";
  r.control->revocations().revoke(std::move(what), [&](const auto& a) { cut = a; });
  ASSERT_TRUE(r.poll_until([&] { return cut.has_value(); }));
  EXPECT_EQ(cut->state, control::CutState::kCut);
  EXPECT_EQ(cut->agents, 3u);
  EXPECT_EQ(r.control->store().commits(), commits + 1) << "one transaction";
  EXPECT_TRUE(r.control->trust().edges().empty());
  EXPECT_EQ(r.control->sessions().entries().size(), 0u);
}

}  // namespace
}  // namespace rig
