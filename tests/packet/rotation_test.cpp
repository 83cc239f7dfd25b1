// An agent goes on under another key: who may still greet, what stays, what its peers are shown,
// and everything that must not pass for a change of identity.
#include <optional>

#include "packet/ceremony_fixture.h"
#include "support/full_disk.h"

namespace rig {
namespace {

using sluice::control::HandshakeOutcome;

// Echo was enrolled by the operator; alpha, beta and gamma stand in the configuration.
class Rotation : public Ceremony {
 protected:
  Rotation() : echo(r.make_agent(21, "echo", 0)) {
    enrol(*echo);
    EXPECT_TRUE(r.connect(*echo));
    EXPECT_EQ(submit(*echo, sign(*echo, own(*echo))), "ok");
    address = echo->welcome.address;
  }

  void enrol(Agent& a) {
    std::optional<sluice::Result<uint32_t>> done;
    r.control->enrolment().add_agent(a.peer.identity(), 7, a.name, 0, "test",
                                     [&](sluice::Result<uint32_t> i) { done = std::move(i); });
    EXPECT_TRUE(r.poll_until([&] { return done.has_value(); }));
    EXPECT_TRUE(done && *done) << (*done ? "" : done->error().message);
  }
  // The same agent, place and name, with the key of another seed.
  std::unique_ptr<Agent> successor(uint8_t seed, unsigned port = 0) {
    auto next = r.make_agent(seed, "echo", port);
    next->flow = echo->flow;
    return next;
  }
  pb::Statement own(const Agent& a) {
    pb::Statement s = blank();
    s.mutable_enrol()->set_name(a.name);
    s.mutable_enrol()->set_e2e_key(raw(a.peer.e2e_public()));
    return s;
  }
  pb::Statement rotate(const Agent& from, const Agent& to, const Agent* consenting = nullptr) {
    pb::Statement s = blank();
    auto& body = *s.mutable_identity_rotate();
    body.set_former(raw(from.peer.identity()));
    body.set_successor(raw(to.peer.identity()));
    const Agent& by = consenting == nullptr ? to : *consenting;
    body.set_consent(raw(by.peer.sign("sluice-statement/1", buf(s.SerializeAsString()))));
    return s;
  }
  uint64_t count(HandshakeOutcome o) { return r.control->handshakes().counts()[size_t(o)]; }
  bool greets_in_vain(Agent& a) {
    const uint64_t before = count(HandshakeOutcome::kUnknownIdentity);
    r.inject(a.port, r.hello_frame(a));
    r.poll_until([&] { return count(HandshakeOutcome::kUnknownIdentity) > before; },
                 std::chrono::seconds(5));
    r.poll(2);
    return count(HandshakeOutcome::kUnknownIdentity) == before + 1;
  }
  // Pairs echo with beta; the two statements.
  std::pair<pb::Signed, pb::Signed> agree_with_beta() {
    const pb::Signed asked = sign(*echo, request(*echo, beta));
    EXPECT_EQ(submit(*echo, asked), "ok");
    const pb::Signed granted = sign(beta, grant(asked, beta));
    EXPECT_EQ(submit(beta, granted), "ok");
    return {asked, granted};
  }
  // Puts a rule in force that denies that agent everything.
  void deny(const std::string& who) {
    const std::string yaml = "rules: [{ from: \"" + who + "\", to: \"*\", action: deny }]";
    auto loaded = r.control->policies().parse(yaml);
    ASSERT_TRUE(loaded.problems.empty()) << loaded.problems.at(0).text;
    bool applied = false;
    r.control->policies().apply(std::move(loaded.policy), yaml, 0, "test",
                                [&](const auto& a) { applied = a.has_value(); });
    ASSERT_TRUE(r.poll_until([&] { return applied; }));
  }
  // By its present identity.
  const sluice::control::AgentEntry* known(const Agent& a) {
    return r.control->trust().by_identity(a.peer.identity());
  }

  std::unique_ptr<Agent> echo;
  uint64_t address = 0;
};

TEST_F(Rotation, AddressNameAndPairsStayAndTheFormerKeyIsWorthNothing) {
  const auto [asked, granted] = agree_with_beta();
  ASSERT_TRUE(reaches(*echo, beta));
  auto next = successor(22);
  const pb::Signed handed = sign(*echo, rotate(*echo, *next));
  ASSERT_EQ(submit(*echo, handed), "ok");
  EXPECT_EQ(submit(*echo, handed), "ok") << "the same again, over a session that still lives";
  ASSERT_NE(known(*next), nullptr);
  EXPECT_EQ(known(*next)->name, "echo");
  EXPECT_EQ(known(*echo), nullptr);
  EXPECT_TRUE(reaches(*echo, beta)) << "the running session is still the same agent's";

  ASSERT_TRUE(r.connect(*next));
  EXPECT_EQ(next->welcome.address, address);
  EXPECT_EQ(submit(*next, sign(*next, own(*next))), "ok");
  EXPECT_TRUE(reaches(*next, beta));
  EXPECT_TRUE(reaches(beta, *next));
  EXPECT_TRUE(greets_in_vain(*echo));
  EXPECT_EQ(submit(*echo, sign(*echo, request(*echo, alpha))), "silence") << "its session is over";

  // Beta is shown the digest, and may read what leads from one to the other.
  const auto edges = r.control->trust().edges_of(known(beta)->index);
  ASSERT_EQ(edges.size(), 1u);
  pb::Control fetch;
  fetch.mutable_fetch()->set_digest(digest_of(handed));
  EXPECT_EQ(ask(beta, fetch).fetched().SerializeAsString(), handed.SerializeAsString());
  EXPECT_EQ(ask(gamma, fetch).fetched().SerializeAsString(), "") << "who has no edge may not";
  ASSERT_EQ(beta.rotations.count("echo"), 1u);
  EXPECT_EQ(beta.rotations.at("echo"), std::vector<std::string>{digest_of(handed)});

  // The successor ends what its former self agreed on.
  EXPECT_EQ(submit(*next, sign(*next, revoke(digest_of(asked), digest_of(granted)))), "ok");
  EXPECT_FALSE(reaches(beta, *next));
}

TEST_F(Rotation, WhatIsNotSignedByBothIsNoRotation) {
  auto next = successor(22);
  const auto code = [&](const pb::Statement& s, const Agent& by) {
    return submit(*echo, sign(by, s));
  };
  EXPECT_EQ(code(rotate(*echo, *next, echo.get()), *echo), "bad_signature") << "no consent";
  EXPECT_EQ(code(rotate(*echo, *next), *next), "not_yours") << "signed by the successor alone";
  EXPECT_EQ(code(rotate(gamma, *next), *echo), "not_yours") << "of another agent";
  EXPECT_EQ(submit(gamma, sign(*echo, rotate(*echo, *next))), "not_yours") << "another's session";
  pb::Statement s = rotate(*echo, *next);
  s.set_tenant(8);
  EXPECT_EQ(code(s, *echo), "wrong_tenant");
  s = rotate(*echo, *next);
  s.mutable_identity_rotate()->set_successor(std::string(31, 'x'));
  EXPECT_EQ(code(s, *echo), "malformed");
  s = rotate(*echo, *next);
  s.set_issued_ms(s.issued_ms() - 1000);
  EXPECT_EQ(code(s, *echo), "bad_signature") << "the consent is to this very statement";
  s = blank();
  s.set_issued_ms(s.issued_ms() - 200'000);
  auto& body = *s.mutable_identity_rotate();
  body.set_former(raw(echo->peer.identity()));
  body.set_successor(raw(next->peer.identity()));
  body.set_consent(raw(next->peer.sign("sluice-statement/1", buf(s.SerializeAsString()))));
  EXPECT_EQ(code(s, *echo), "stale");
  EXPECT_EQ(code(rotate(*echo, beta), *echo), "identity_taken") << "somebody who is there";
  EXPECT_EQ(known(*next), nullptr);
  EXPECT_NE(known(*echo), nullptr);
  auto other = r.make_agent(23, "alpha", 0);
  EXPECT_EQ(submit(alpha, sign(alpha, rotate(alpha, *other))), "configured");
}

TEST_F(Rotation, WhatWasHandedOverDoesNotComeBack) {
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  ASSERT_TRUE(r.connect(*next));
  r.clock.advance_ms(1000);
  EXPECT_EQ(submit(*next, sign(*next, rotate(*next, *successor(23)))), "too_soon");
  r.clock.advance_ms(60'000);
  EXPECT_EQ(submit(*next, sign(*next, rotate(*next, *echo))), "identity_taken");
  auto third = successor(23);
  ASSERT_EQ(submit(*next, sign(*next, rotate(*next, *third))), "ok");
  EXPECT_TRUE(greets_in_vain(*next));
  for (const Agent* former : {echo.get(), next.get()}) {
    std::optional<sluice::Result<uint32_t>> done;
    r.control->enrolment().add_agent(former->peer.identity(), 7, "back", 0, "test",
                                     [&](sluice::Result<uint32_t> i) { done = std::move(i); });
    ASSERT_TRUE(r.poll_until([&] { return done.has_value(); }));
    EXPECT_FALSE(*done);
  }
  // The operator finds the agent by whatever it was called.
  const auto did = sluice::crypto::to_did(echo->peer.identity());
  ASSERT_NE(r.control->trust().resolve(did), nullptr);
  EXPECT_EQ(r.control->trust().resolve(did)->identity, third->peer.identity());
}

TEST_F(Rotation, NeitherATokenNorTheConfigurationBringsTheFormerBack) {
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  std::optional<sluice::control::NewToken> token;
  r.control->enrolment().create_token(
      7, 60'000, 5, "test",
      [&](sluice::Result<sluice::control::NewToken> t) { token = std::move(*t); });
  ASSERT_TRUE(r.poll_until([&] { return token.has_value(); }));
  oracle::HelloOptions options;
  options.token = Buf(token->secret.begin(), token->secret.end());
  r.inject(0, r.hello_frame(*echo, options));
  ASSERT_TRUE(r.poll_until([&] { return count(HandshakeOutcome::kEnrolling) == 1; }));
  r.poll(4);
  EXPECT_EQ(known(*echo), nullptr);
  EXPECT_TRUE(r.control->enrolment().tokens().begin()->second.used == 0) << "nor is it spent";
  control::TrustConfig trust = r.config.trust;
  control::TrustAgent t;
  t.name = "echo";
  t.identity = echo->peer.identity();
  t.tenant = 7;
  trust.agents.push_back(t);
  const auto refused = r.control->reload(trust);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(sluice::crypto::to_did(next->peer.identity())),
            std::string::npos);
}

TEST_F(Rotation, ARestartKnowsWhoIsWho) {
  (void)agree_with_beta();
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  // What it agrees on from now on is kept under whoever it is.
  ASSERT_TRUE(r.connect(*next));
  const pb::Signed asked = sign(*next, request(*next, gamma));
  EXPECT_EQ(submit(*next, asked), "ok");
  EXPECT_EQ(submit(gamma, sign(gamma, grant(asked, gamma))), "ok");
  const pb::Signed waits = sign(*next, request(*next, alpha));
  EXPECT_EQ(submit(*next, waits), "ok");
  r.control.reset();
  r.start();
  ASSERT_NE(known(*next), nullptr);
  EXPECT_EQ(known(*next)->address.to_u64(), address);
  EXPECT_EQ(known(*next)->formers.size(), 1u);
  EXPECT_EQ(known(*echo), nullptr);
  EXPECT_EQ(r.control->trust().agreements_of(known(*next)->index).size(), 2u);
  EXPECT_EQ(waiting(), 1u);
  EXPECT_TRUE(greets_in_vain(*echo));
  ASSERT_TRUE(r.connect(*next));
  EXPECT_EQ(next->welcome.address, address);
}

TEST_F(Rotation, RevokedIsRevokedWhateverItWasCalled) {
  (void)agree_with_beta();
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  ASSERT_TRUE(r.connect(*next));
  bool done = false;
  auto* agent = r.control->trust().resolve(sluice::crypto::to_did(echo->peer.identity()));
  r.control->revocations().revoke({{agent->index}, {}, "gone", "test"},
                                  [&](const auto&) { done = true; });
  ASSERT_TRUE(r.poll_until([&] { return done; }));
  EXPECT_FALSE(reaches(beta, *next));
  for (const bool restarted : {false, true}) {
    if (restarted) {
      r.control.reset();
      r.start();
    }
    ASSERT_NE(known(*next), nullptr);
    EXPECT_TRUE(known(*next)->revoked) << restarted;
    EXPECT_EQ(pairs(), 0u);
  }
}

TEST_F(Rotation, WhatWaitsEnds) {
  const pb::Signed out = sign(*echo, request(*echo, beta));
  ASSERT_EQ(submit(*echo, out), "ok");
  const pb::Signed in = sign(alpha, request(alpha, *echo));
  ASSERT_EQ(submit(alpha, in), "ok");
  ASSERT_EQ(waiting(), 2u);
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  EXPECT_EQ(waiting(), 0u);
  EXPECT_EQ(submit(beta, sign(beta, grant(out, beta))), "unknown_request");
  EXPECT_EQ(pairs(), 0u);
}

TEST_F(Rotation, AFullDiskLeavesEverythingAsItWas) {
  auto next = successor(22);
  {
    const FullDisk full;
    EXPECT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "store");
  }
  EXPECT_EQ(known(*next), nullptr);
  ASSERT_NE(known(*echo), nullptr);
  r.clock.advance_ms(10);
  EXPECT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  EXPECT_NE(known(*next), nullptr);
}

// The disk has it, and the agent does not know: it asks again, with another statement.
TEST_F(Rotation, AnAnswerThatWasLostIsGivenToTheNextQuestion) {
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  r.clock.advance_ms(11'000);
  EXPECT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  auto other = successor(23);
  EXPECT_EQ(submit(*echo, sign(*echo, rotate(*echo, *other))), "not_yours");
}

// Between its start and the disk's answer nobody else touches either identity.
TEST_F(Rotation, WhileItIsWrittenTheIdentitiesAreHeld) {
  const pb::Signed asked = sign(*echo, request(*echo, beta));
  ASSERT_EQ(submit(*echo, asked), "ok");
  auto next = successor(22);
  std::vector<std::string> codes;
  const auto give = [&](Agent& by, const pb::Signed& s) {
    r.control->ceremony().submit(known(by)->index, s, [&](const auto& o) {
      codes.push_back(sluice::control::info(o.code).code);
    });
  };
  r.clock.advance_ms(2000);
  give(*echo, sign(*echo, rotate(*echo, *next)));
  give(beta, sign(beta, grant(asked, beta)));
  give(beta, sign(beta, revoke(digest_of(asked), std::string(32, 'g'))));
  give(*echo, sign(*echo, own(*echo)));
  unsigned refused = 0;
  for (const Agent* a : {echo.get(), next.get()}) {
    r.control->enrolment().add_agent(a->peer.identity(), 7, "taken", 0, "test",
                                     [&](const auto& i) { refused += i ? 0 : 1; });
  }
  EXPECT_EQ(refused, 2u);
  ASSERT_TRUE(r.poll_until([&] { return known(*next) != nullptr; }));
  r.poll(4);
  EXPECT_EQ(codes, (std::vector<std::string>{"not_agreed", "ok"}));
  EXPECT_EQ(pairs(), 0u);
  EXPECT_EQ(r.control->trust().agents().size(), 4u) << "and there is one echo";
}

// Revoked while it is being written: the store takes them in their order, and it stays revoked.
TEST_F(Rotation, RevokedMeanwhileItStaysRevoked) {
  auto next = successor(22);
  std::string code;
  r.clock.advance_ms(2000);
  r.control->ceremony().submit(known(*echo)->index, sign(*echo, rotate(*echo, *next)),
                               [&](const auto& o) { code = sluice::control::info(o.code).code; });
  bool cut = false;
  r.control->revocations().revoke(sluice::control::cut_of(*known(*echo), "gone"),
                                  [&](const auto&) { cut = true; });
  ASSERT_TRUE(r.poll_until([&] { return cut && !code.empty(); }));
  for (const bool restarted : {false, true}) {
    if (restarted) {
      r.control.reset();
      r.start();
    }
    const auto* agent = r.control->trust().resolve("echo");
    ASSERT_NE(agent, nullptr);
    EXPECT_TRUE(agent->revoked) << restarted;
  }
}

// Whom the operator has named by its DID does not get away from the rule by another one.
TEST_F(Rotation, APolicyForTheFormerIsForItsSuccessor) {
  (void)agree_with_beta();
  deny(sluice::crypto::to_did(echo->peer.identity()));
  ASSERT_FALSE(reaches(*echo, beta));
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  ASSERT_TRUE(r.connect(*next));
  EXPECT_EQ(submit(*next, sign(*next, own(*next))), "ok");
  EXPECT_FALSE(reaches(*next, beta));
  r.control.reset();
  r.start();
  EXPECT_EQ(pairs(), 1u);
  EXPECT_EQ(r.control->trust().edges().size(), 0u) << "nor by a restart";
}

// Written before there was one.
TEST_F(Rotation, ARuleForTheSuccessorHoldsFromTheRotationOn) {
  (void)agree_with_beta();
  auto next = successor(22);
  deny(sluice::crypto::to_did(next->peer.identity()));
  ASSERT_TRUE(reaches(*echo, beta));
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  EXPECT_EQ(r.control->trust().edges().size(), 0u);
  ASSERT_TRUE(r.connect(*next));
  EXPECT_EQ(submit(*next, sign(*next, own(*next))), "ok");
  EXPECT_FALSE(reaches(*next, beta));
}

// A host whose clock was ahead once must not keep its successor silent.
TEST_F(Rotation, AnEnrolOfTheFormerDoesNotStandInTheWay) {
  pb::Statement ahead = own(*echo);
  ahead.set_issued_ms(r.clock.unix_ms() + 86'400'000);
  ASSERT_EQ(submit(*echo, sign(*echo, ahead)), "ok");
  auto next = successor(22);
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  ASSERT_TRUE(r.connect(*next));
  EXPECT_EQ(submit(*next, sign(*next, own(*next))), "ok");
  pb::Statement earlier = own(*next);
  earlier.set_issued_ms(earlier.issued_ms() - 60'000);
  EXPECT_EQ(submit(*next, sign(*next, earlier)), "stale");
}

// A prepared key of the former identity would refuse the successor, or worse.
TEST_F(Rotation, ThePreparedKeyIsTheSuccessors) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(r.connect(*echo));
  const auto prepared = [&] {
    return r.control->prepared_keys().find(known(*echo)->index) != nullptr;
  };
  if (sluice::crypto::batch_engine() == nullptr) GTEST_SKIP() << "no lanes: no prepared keys";
  ASSERT_TRUE(r.poll_until(prepared));
  auto next = successor(22);
  const uint32_t agent = known(*echo)->index;
  ASSERT_EQ(submit(*echo, sign(*echo, rotate(*echo, *next))), "ok");
  EXPECT_EQ(r.control->prepared_keys().find(agent), nullptr)
      << "the former's key is not kept for it";
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(r.connect(*next)) << i;
  EXPECT_EQ(count(HandshakeOutcome::kBadSignature), 0u);
}

}  // namespace
}  // namespace rig
