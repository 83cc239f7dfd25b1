// Signatures on a core of their own: what waits for one that does not answer, and that nothing
// passes without its verdict.
#include <thread>

#include "packet/call_fixture.h"

namespace rig {
namespace {

struct VerifierCore : Calls {
  VerifierCore() : Calls({.verifiers = 1}) {}
};

TEST_F(VerifierCore, NothingPassesBeforeItsVerdict) {
  r.verifiers_stand_still = true;
  const Buf envelope = open_good();
  send(*alpha, 3, 0, to_beta(), last_, {}, Buf(32, 1));
  for (int i = 0; i < 10; ++i) settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(r.counters().at("verified"), 0u);
  // Other packets do not wait for it.
  r.send(*alpha, r.datagram(*alpha, "beta", Buf(100, 7)));
  settle();
  EXPECT_EQ(r.receive(*beta).size(), 1u);
  r.verifiers_stand_still = false;
  settle();
  const auto at_beta = r.receive(*beta);
  ASSERT_EQ(at_beta.size(), 2u);
  EXPECT_EQ(at_beta[0].frame, 2);
  EXPECT_EQ(at_beta[0].extension, envelope);
  EXPECT_EQ(at_beta[1].rest, Buf(32, 1));
  EXPECT_EQ(r.counters().at("verified"), 1u);
}

TEST_F(VerifierCore, OneThatStandsStillLetsNothingThrough) {
  r.verifiers_stand_still = true;
  const auto before = r.counters();
  for (int i = 0; i < 300; ++i) {
    (void)open_good();
    settle();
  }
  EXPECT_TRUE(r.receive(*beta).empty());
  const auto after = moved(before, r.counters());
  EXPECT_GT(after.at("drop.call_queue_full"), 200u);
  EXPECT_EQ(after.count("call.authorized"), 0u);
  EXPECT_EQ(after.count("verified"), 0u);
  r.verifiers_stand_still = false;
  for (int i = 0; i < 8; ++i) settle();
  (void)r.receive(*beta);
}

TEST_F(VerifierCore, WhatIsVerifiedIsAuthorisedWhenItIsTakenUp) {
  r.verifiers_stand_still = true;
  (void)open_good();
  settle();
  r.control->trust().mark_revoked(*r.control->trust().resolve("alpha"), "test", 1);
  r.verifiers_stand_still = false;
  settle();
  EXPECT_TRUE(r.receive(*beta).empty());
  EXPECT_EQ(r.counters().at("verified"), 1u);
  EXPECT_EQ(r.counters().at("call.authorized"), 0u);
  EXPECT_EQ(r.counters().at("drop.revoked"), 1u);
}

// Each verdict is its own frame's, whatever is asked around it.
TEST_F(VerifierCore, EveryPatternOfGoodAndBad) {
  for (unsigned pattern = 0; pattern < 256; pattern += 5) {
    std::vector<Buf> packets;
    std::vector<uint64_t> good;
    for (unsigned i = 0; i < 8; ++i) {
      const Envelope e = envelope();
      Buf bytes = e.signed_by(alpha->peer);
      if ((pattern >> i & 1) != 0) {
        good.push_back(e.counter);
      } else {
        bytes[145 + i] ^= 4;
      }
      packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, bytes, {}));
    }
    arrive_at_once(*alpha, packets);
    settle();
    std::vector<uint64_t> came;
    for (const auto& f : r.receive(*beta)) came.push_back(f.call_id);
    EXPECT_EQ(came, good) << pattern;
    (void)r.receive(*alpha);
    // The table of calls is emptied for the next.
    r.clock.advance_ms(61'000);
    ASSERT_TRUE(r.poll_until([&] {
      return r.arena->agents()[r.control->trust().resolve("alpha")->index].open_calls == 0;
    }));
    if (pattern % 2 == 0) {
      ASSERT_TRUE(r.connect(*alpha));
      ASSERT_TRUE(r.connect(*beta));
    }
    r.poll_control();
  }
}

// As many calls as an agent may have keys for, less a few that meet in one place of the table.
TEST_F(VerifierCore, OnAThreadOfItsOwn) {
  std::atomic<bool> stop{false};
  std::jthread verifier([&] { r.plane->verifier(0).run(stop); });
  const auto at_end = std::unique_ptr<std::atomic<bool>, void (*)(std::atomic<bool>*)>(
      &stop, [](std::atomic<bool>* s) { s->store(true); });
  r.verifiers_stand_still = true;  // for who polls here
  constexpr int kCalls = 24;
  for (int i = 0; i < kCalls; ++i) {
    const Buf envelope = open_good();
    std::vector<oracle::Frame> at_beta;
    ASSERT_TRUE(r.poll_until([&] {
      for (auto& f : r.receive(*beta)) at_beta.push_back(std::move(f));
      return !at_beta.empty();
    }));
    ASSERT_EQ(at_beta[0].extension, envelope);
    send(*beta, 5, 1, to_alpha(), last_, accept_of(beta->peer, envelope, 0, r.clock.unix_ms()));
    std::vector<oracle::Frame> at_alpha;
    ASSERT_TRUE(r.poll_until([&] {
      for (auto& f : r.receive(*alpha)) at_alpha.push_back(std::move(f));
      return !at_alpha.empty();
    }));
    const uint64_t closed = r.counters().at("calls_closed");
    send(*alpha, 4, 0, to_beta(), last_, close_of(0, 0));
    send(*beta, 4, 1, to_alpha(), last_, close_of(0, 0));
    ASSERT_TRUE(r.poll_until([&] { return r.counters().at("calls_closed") > closed; }));
    (void)r.receive(*alpha);
    (void)r.receive(*beta);
  }
  EXPECT_EQ(r.counters().at("verified"), 2u * kCalls);
  EXPECT_EQ(r.counters().at("accepted"), uint64_t{kCalls});
}

}  // namespace
}  // namespace rig
