// wire.md §3, Roaming: the endpoint moves only to where a challenge was answered.
#include "packet/expect.h"

namespace rig {
namespace {

class Roaming : public testing::Test {
 protected:
  Roaming() : alpha(r.add_agent(11, "alpha", 0)), beta(r.add_agent(12, "beta", 1)) {
    r.trust("alpha", "beta");
    r.start();
    EXPECT_TRUE(r.connect(alpha));
    EXPECT_TRUE(r.connect(beta));
    r.clock.advance_ms(2000);
    elsewhere = alpha.flow;
    elsewhere.src_ip[3] = 200;
    elsewhere.src_port = 5555;
    elsewhere.src_mac = mac_of(99);
  }

  Buf from_elsewhere(const Buf& payload) { return oracle::udp_frame(elsewhere, payload); }

  // Where the relay sends what beta says to alpha.
  oracle::Flow where_alpha_is() {
    r.drain_all();
    r.send(beta, r.datagram(beta, "alpha", Buf(20, 1)));
    r.poll_workers();
    const auto out = r.drain(0);
    EXPECT_EQ(out.size(), 1u);
    return oracle::parse_udp_frame(out.at(0))->flow;
  }

  std::optional<oracle::Frame> challenge_in(const std::vector<Buf>& frames,
                                            const oracle::Flow& to) {
    for (const Buf& f : frames) {
      const auto parsed = oracle::parse_udp_frame(f);
      if (!parsed || parsed->flow.dst_port != to.src_port || parsed->flow.dst_ip != to.src_ip)
        continue;
      const auto frame = alpha.peer.open(parsed->payload);
      if (frame && frame->frame == 0 && frame->flags == 1) return frame;
    }
    return std::nullopt;
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
  oracle::Flow elsewhere;
};

TEST_F(Roaming, MovesAfterTheChallengeWasAnsweredFromThere) {
  r.inject(0, from_elsewhere(r.datagram(alpha, "beta", Buf(30, 5))));
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u) << "authentic traffic goes on meanwhile";
  const auto challenge = challenge_in(r.drain(0), elsewhere);
  ASSERT_TRUE(challenge);
  EXPECT_EQ(where_alpha_is().dst_port, alpha.flow.src_port) << "not moved yet";
  r.inject(0, from_elsewhere(alpha.peer.seal(0, 2, 0, challenge->call_id, {}, {})));
  r.poll_workers();
  const auto now = where_alpha_is();
  EXPECT_EQ(now.dst_port, elsewhere.src_port);
  EXPECT_EQ(now.dst_ip, elsewhere.src_ip);
  EXPECT_EQ(now.dst_mac, elsewhere.src_mac);
  EXPECT_EQ(r.counters()["roamed"], 1u);
  r.check_balance();
}

TEST_F(Roaming, TheGatewaysTwinTakesOverWithoutAChallenge) {
  oracle::Flow twin = alpha.flow;
  twin.src_mac = mac_of(77);
  Buf forged = r.datagram(alpha, "beta", Buf(30, 5));
  forged[45] ^= 1;
  expect_drop(r, 0, oracle::udp_frame(twin, forged), "bad_tag");
  EXPECT_EQ(where_alpha_is().dst_mac, alpha.flow.src_mac);
  r.inject(0, oracle::udp_frame(twin, r.datagram(alpha, "beta", Buf(30, 5))));
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u);
  EXPECT_EQ(where_alpha_is().dst_mac, twin.src_mac);
  EXPECT_EQ(r.counters()["challenges"], 0u);
}

TEST_F(Roaming, AnAnswerFromElsewhereOrWithAnotherValueMovesNothing) {
  r.inject(0, from_elsewhere(alpha.peer.seal(0, 0, 0, 0, {}, {})));
  r.poll_workers();
  const auto challenge = challenge_in(r.drain(0), elsewhere);
  ASSERT_TRUE(challenge);
  oracle::Flow third = elsewhere;
  third.src_port = 6666;
  r.inject(0, oracle::udp_frame(third, alpha.peer.seal(0, 2, 0, challenge->call_id, {}, {})));
  r.inject(0, from_elsewhere(alpha.peer.seal(0, 2, 0, challenge->call_id ^ 1, {}, {})));
  r.poll_workers();
  EXPECT_EQ(where_alpha_is().dst_port, alpha.flow.src_port);
  r.clock.advance_ms(15'000);
  r.inject(0, from_elsewhere(alpha.peer.seal(0, 2, 0, challenge->call_id, {}, {})));
  r.poll_workers();
  EXPECT_EQ(where_alpha_is().dst_port, alpha.flow.src_port) << "a challenge goes stale";
}

TEST_F(Roaming, OneChallengeASecondAndOnlyForTheHighestSequence) {
  for (int i = 0; i < 10; ++i) {
    r.inject(0, from_elsewhere(alpha.peer.seal(0, 0, 0, 0, {}, {})));
    r.poll_workers();
  }
  EXPECT_EQ(r.counters()["challenges"], 1u);
  const Buf old = alpha.peer.seal(0, 0, 0, 0, {}, {});
  r.send(alpha, alpha.peer.seal(0, 0, 0, 0, {}, {}));
  r.poll_workers();
  r.clock.advance_ms(1100);
  r.inject(0, from_elsewhere(old));
  r.poll_workers();
  EXPECT_EQ(r.counters()["challenges"], 1u) << "an overtaken packet proves nothing";
}

TEST_F(Roaming, ForgersFromElsewhereCostNoDecryptionBeyondABudget) {
  const auto before = r.counters();
  for (int i = 0; i < 20; ++i) {
    Buf forged = r.datagram(alpha, "beta", Buf(64, 1));
    forged[40] ^= 1;
    r.inject(0, from_elsewhere(forged));
  }
  r.poll_workers();
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("drop.bad_tag"), 2u);
  EXPECT_EQ(diff.at("drop.roam_budget"), 18u);
  EXPECT_TRUE(r.drain_all().empty());
  produced_reasons().insert("roam_budget");
}

}  // namespace
}  // namespace rig
