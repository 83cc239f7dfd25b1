// Several workers: packets of an agent that arrive elsewhere go to its owner, and every reason that
// only exists between workers. Also revocation against workers.
#include <optional>

#include "packet/expect.h"
#include "support/full_disk.h"

namespace rig {
namespace {

struct Four {
  Rig r{Setup{.workers = 4}};
  Agent& alpha = r.add_agent(11, "alpha", 0);
  Agent& beta = r.add_agent(12, "beta", 1);
  Four() {
    alpha.queue = 1;
    beta.queue = 2;
    r.trust("alpha", "beta");
    r.start();
    EXPECT_TRUE(r.connect(alpha));
    EXPECT_TRUE(r.connect(beta));
  }
};

TEST(Workers, PacketsOnAnotherQueueAreHandedToTheOwnerAndSealedInItsLane) {
  Four f;
  EXPECT_EQ(f.alpha.welcome.receive_lanes, 4);
  for (unsigned queue : {0u, 1u, 2u, 3u}) {
    const auto before = f.r.counters();
    f.r.inject(0, oracle::udp_frame(f.alpha.flow, f.r.datagram(f.alpha, "beta", Buf(50, 9))),
               queue);
    f.r.poll_workers();
    f.r.poll_workers();
    const auto got = f.r.receive(f.beta);
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].lane, 1) << "the owner's lane, whatever queue it came in on";
    const auto diff = moved(before, f.r.counters());
    EXPECT_EQ(diff.contains("handed_out"), queue != 1);
    EXPECT_EQ(diff.contains("handed_in"), queue != 1);
  }
  f.r.poll(3);
  f.r.check_balance();
}

TEST(Workers, AReplayOnAnotherQueueIsStillAReplay) {
  Four f;
  const Buf frame = oracle::udp_frame(f.alpha.flow, f.r.datagram(f.alpha, "beta", Buf(50, 9)));
  for (unsigned queue = 0; queue < 4; ++queue) f.r.inject(0, frame, queue);
  for (int i = 0; i < 4; ++i) f.r.poll_workers();
  EXPECT_EQ(f.r.receive(f.beta).size(), 1u);
  EXPECT_EQ(f.r.counters()["drop.replay"], 3u);
}

TEST(Workers, ForgedPacketsNeverCrossCores) {
  Four f;
  Buf forged = f.r.datagram(f.alpha, "beta", Buf(50, 9));
  forged[20] ^= 1;
  expect_drop(f.r, 0, oracle::udp_frame(f.alpha.flow, forged), "bad_tag", 3);
}

TEST(Workers, RingToTheOwnerFull) {
  Four f;
  const auto before = f.r.counters();
  for (int i = 0; i < 1100; ++i) {
    f.r.inject(0, oracle::udp_frame(f.alpha.flow, f.r.datagram(f.alpha, "beta", Buf(20, 1))), 0);
    if (i % 32 == 31) f.r.poll_worker(0);
  }
  for (int i = 0; i < 3; ++i) f.r.poll_worker(0);
  auto diff = moved(before, f.r.counters());
  EXPECT_EQ(diff.at("handed_out"), 1024u);
  EXPECT_EQ(diff.at("drop.handover_full"), 76u);
  produced_reasons().insert("handover_full");
  unsigned got = 0;
  for (int i = 0; i < 60; ++i) {
    f.r.poll_workers();
    got += static_cast<unsigned>(f.r.receive(f.beta).size());
  }
  EXPECT_EQ(got, 1024u);
  f.r.poll(3);
  f.r.check_balance();
}

TEST(Workers, WhatWaitedInAHandoverRingIsAuthorisedAgain) {
  Four f;
  f.r.inject(0, oracle::udp_frame(f.alpha.flow, f.r.datagram(f.alpha, "beta", Buf(50, 9))), 0);
  f.r.poll_worker(0);  // now in the ring to worker 1
  bool answered = false;
  f.r.control->revocations().revoke(
      sluice::control::cut_of(*f.r.control->trust().resolve("beta"), "cut"),
      [&](const sluice::control::RevocationAnswer&) { answered = true; });
  ASSERT_TRUE(f.r.poll_until([&] { return answered; }));
  EXPECT_TRUE(f.r.receive(f.beta).empty()) << "forwarded after the revocation";
  EXPECT_EQ(f.r.counters()["drop.revoked"], 1u);
}

class Revocation : public testing::Test {
 protected:
  Revocation() : alpha(r.add_agent(11, "alpha", 0)), beta(r.add_agent(12, "beta", 1)) {
    r.trust("alpha", "beta");
    r.start();
    EXPECT_TRUE(r.connect(alpha));
    EXPECT_TRUE(r.connect(beta));
  }
  sluice::control::RevocationAnswer revoke(const std::string& who, const std::string& why) {
    std::optional<sluice::control::RevocationAnswer> answer;
    r.control->revocations().revoke(sluice::control::cut_of(*r.control->trust().resolve(who), why),
                                    [&](const auto& a) { answer = a; });
    EXPECT_TRUE(r.poll_until([&] { return answer.has_value(); }));
    r.poll(4);  // the notices leave the workers: what a test then counts are not they
    return answer.value_or(sluice::control::RevocationAnswer{});
  }
  Rig r;
  Agent& alpha;
  Agent& beta;
};

TEST_F(Revocation, CutsBothWaysWipesKeysAndTellsThePeer) {
  const uint32_t slot = beta.welcome.sender_index;
  const Buf to_beta = r.datagram(alpha, "beta", Buf(40, 1));
  const Buf from_beta = r.datagram(beta, "alpha", Buf(40, 1));
  const auto answer = revoke("beta", "key leaked");
  EXPECT_EQ(answer.state, sluice::control::CutState::kCut);
  EXPECT_EQ(answer.edges_closed, 2u);
  EXPECT_EQ(answer.peers_notified, 1u);
  EXPECT_GT(answer.sync_us, 0);
  EXPECT_LE(answer.cut_us, answer.ack_us);
  EXPECT_LE(answer.durable_us, answer.ack_us);
  const auto& s = r.arena->sessions()[slot];
  EXPECT_TRUE(sluice::all_zero({s.key_in.opaque, sizeof s.key_in.opaque}));
  EXPECT_TRUE(sluice::all_zero({s.key_out.opaque, sizeof s.key_out.opaque}));

  expect_drop(r, 0, oracle::udp_frame(alpha.flow, to_beta), "revoked");
  expect_drop(r, 1, oracle::udp_frame(beta.flow, from_beta), "unknown_receiver");
  for (int i = 0; i < 30; ++i) {
    r.clock.advance_ms(10);
    r.poll(2);
    EXPECT_TRUE(r.receive(alpha).empty());
  }
  EXPECT_EQ(alpha.revoked_notices, std::vector<std::string>{"key leaked"});
  EXPECT_TRUE(alpha.labels.empty()) << "the edge is gone from alpha's set";
  r.check_balance();
}

TEST_F(Revocation, TheRevokedOneIsToldAsTheLastThingOnItsSession) {
  const uint32_t slot = beta.welcome.sender_index;
  const auto answer = revoke("beta", "key leaked");
  EXPECT_EQ(answer.notified, 1u);
  EXPECT_TRUE(r.receive(beta).empty());
  EXPECT_EQ(beta.revoked_notices, std::vector<std::string>{"key leaked"});
  const auto& s = r.arena->sessions()[slot];
  EXPECT_TRUE(sluice::all_zero({s.key_out.opaque, sizeof s.key_out.opaque}));
  for (int i = 0; i < 30; ++i) {
    r.clock.advance_ms(100);
    r.poll(2);
    (void)r.receive(beta);
  }
  EXPECT_EQ(beta.revoked_notices.size(), 1u) << "and nothing after it";
}

// Until then its session carries nothing that it says.
TEST_F(Revocation, BetweenTheCutAndItsEndASessionIsDeaf) {
  sluice::pb::Control message;
  message.mutable_lookup()->set_name("alpha");
  const std::string bytes = message.SerializeAsString();
  std::optional<sluice::control::RevocationAnswer> answer;
  r.control->revocations().revoke(
      sluice::control::cut_of(*r.control->trust().resolve("beta"), "gone"),
      [&](const auto& a) { answer = a; });
  r.send(beta, r.datagram(beta, "alpha", Buf(40, 1)));
  r.send(beta, beta.peer.seal(7, 0, 0, 77, Buf(bytes.begin(), bytes.end()), {}));
  r.poll_workers();
  EXPECT_EQ(r.counters().at("drop.revoked"), 2u);
  ASSERT_TRUE(r.poll_until([&] { return answer.has_value(); }));
  r.clock.advance_ms(10);
  r.poll(3);
  EXPECT_TRUE(r.answers_of(beta).empty());
  EXPECT_TRUE(r.receive(alpha).empty());
}

TEST(RevocationOfMany, TellsSixteenAndCutsAll) {
  Rig r;
  constexpr unsigned kMany = 20;
  std::vector<Agent*> crowd;
  for (unsigned i = 0; i < kMany; ++i) {
    crowd.push_back(&r.add_agent(uint8_t(30 + i), "temp-" + std::to_string(i), i % 2));
  }
  r.start();
  sluice::control::Cut cut{.agents = {}, .pairs = {}, .reason = "all", .actor = "test"};
  for (Agent* a : crowd) {
    ASSERT_TRUE(r.connect(*a));
    r.drain_all();
    cut.agents.push_back(r.control->trust().resolve(a->name)->index);
  }
  std::optional<sluice::control::RevocationAnswer> answer;
  r.control->revocations().revoke(std::move(cut), [&](const auto& a) { answer = a; });
  ASSERT_TRUE(r.poll_until([&] { return answer.has_value(); }));
  EXPECT_EQ(answer->state, sluice::control::CutState::kCut);
  EXPECT_EQ(answer->notified, 16u);
  r.poll(4);
  size_t told = 0;
  // One port at a time: what another agent's look takes out is gone.
  for (unsigned port = 0; port < 2; ++port) {
    for (const Buf& f : r.drain(port)) {
      const auto parsed = oracle::parse_udp_frame(f);
      for (Agent* a : crowd) {
        if (!parsed || parsed->flow.dst_port != a->flow.src_port) continue;
        const auto frame = a->peer.open(parsed->payload);
        told += frame && frame->frame == 7 ? 1 : 0;
      }
    }
  }
  EXPECT_EQ(told, 16u);
  EXPECT_TRUE(r.control->sessions().entries().empty());
  for (const Agent* a : crowd) {
    const auto& s = r.arena->sessions()[a->welcome.sender_index];
    EXPECT_TRUE(sluice::all_zero({s.key_out.opaque, sizeof s.key_out.opaque})) << a->name;
  }
}

TEST_F(Revocation, AuthenticPacketsOfARevokedAgentDieBeforeItsSessionIsGone) {
  // Between the store of the agent's state and the next look at the session table.
  r.arena->agents()[r.control->trust().resolve("beta")->index].state.store(
      uint32_t(sluice::fabric::AgentState::kRevoked));
  expect_drop(r, 1, oracle::udp_frame(beta.flow, r.datagram(beta, "alpha", Buf(40, 1))), "revoked");
  expect_drop(r, 1, oracle::udp_frame(beta.flow, beta.peer.seal(0, 1, 0, 5, {}, {})), "revoked");
}

TEST_F(Revocation, AStuckWorkerIsNotTakenForAProof) {
  r.plane->qsbr().online(0);  // a worker that polls but does not come round
  std::optional<sluice::control::RevocationAnswer> answer;
  r.control->revocations().revoke(
      sluice::control::cut_of(*r.control->trust().resolve("beta"), "stuck"),
      [&](const auto& a) { answer = a; });
  for (int i = 0; i < 20; ++i) r.control->poll();
  EXPECT_FALSE(answer.has_value());
  r.clock.advance_ms(1001);
  r.control->poll();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->state, sluice::control::CutState::kNotProven);
  EXPECT_EQ(answer->peers_notified, 0u);
  // Once it moves, the rest of the order is carried out all the same.
  for (int i = 0; i < 40; ++i) {
    r.clock.advance_ms(10);
    r.poll(2);
    r.receive(alpha);
  }
  EXPECT_EQ(alpha.revoked_notices, std::vector<std::string>{"stuck"});
  r.plane->qsbr().offline(0);
}

TEST_F(Revocation, AReloadMeanwhileTakesNoNoticeAway) {
  r.plane->qsbr().online(0);
  bool answered = false;
  r.control->revocations().revoke(
      sluice::control::cut_of(*r.control->trust().resolve("beta"), "reloaded"),
      [&](const auto&) { answered = true; });
  ASSERT_TRUE(r.control->reload(r.config.trust));
  ASSERT_TRUE(r.poll_until([&] { return answered; }));
  for (int i = 0; i < 40; ++i) {
    r.clock.advance_ms(10);
    r.poll(2);
    r.receive(alpha);
  }
  EXPECT_EQ(alpha.revoked_notices, std::vector<std::string>{"reloaded"});
  EXPECT_TRUE(alpha.labels.empty());
  r.plane->qsbr().offline(0);
}

TEST_F(Revocation, AReusedSlotHasANewGeneration) {
  const uint32_t old_label = alpha.labels["beta"];
  auto without = r.config.trust;
  without.pairs.clear();
  ASSERT_TRUE(r.control->reload(without));
  r.clock.advance_ms(181'000);
  r.poll(3);
  ASSERT_TRUE(r.control->reload(r.config.trust));
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  const std::set<uint32_t> slots = {alpha.labels["beta"] & 0xffffff,
                                    beta.labels["alpha"] & 0xffffff};
  ASSERT_TRUE(slots.contains(old_label & 0xffffff)) << "the slot is used again";
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, alpha.peer.seal(1, 0, old_label, 0, {}, Buf(30))),
              "no_edge");
  r.send(alpha, r.datagram(alpha, "beta", Buf(10, 1)));
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u);
}

TEST_F(Revocation, AFullDiskCutsAllTheSameAndSaysThatItWouldNotLast) {
  const auto answer = [this] {
    const FullDisk full;
    return revoke("beta", "full");
  }();
  EXPECT_EQ(answer.state, sluice::control::CutState::kNotDurable);
  EXPECT_FALSE(answer.problem.empty());
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(40, 1))),
              "revoked");
}

TEST_F(Revocation, AnAgentThatCouldNotBeStoredStaysOut) {
  r.add_agent(14, "delta", 0);
  std::optional<FullDisk> full(std::in_place);
  ASSERT_TRUE(r.control->reload(r.config.trust));
  const auto state = [&] {
    return r.arena->agents()[r.control->trust().resolve("delta")->index].state.load();
  };
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(300);
  r.poll_until([&] { return std::chrono::steady_clock::now() > until; });
  EXPECT_EQ(state(), uint32_t(sluice::fabric::AgentState::kFree));
  ASSERT_TRUE(r.control->reload(r.config.trust));
  EXPECT_EQ(state(), uint32_t(sluice::fabric::AgentState::kFree))
      << "a second reload does not let it in";
  full.reset();
  r.poll(5);
  ASSERT_TRUE(r.control->reload(r.config.trust));
  ASSERT_TRUE(
      r.poll_until([&] { return state() == uint32_t(sluice::fabric::AgentState::kActive); }));
}

TEST(RevokedWithoutARow, StaysOut) {
  Rig r;
  Agent& alpha = r.add_agent(11, "alpha", 0);
  sluice::control::TrustTable table(*r.arena, r.clock);
  sluice::control::Snapshot snapshot;
  snapshot.revocations.push_back({alpha.peer.identity(), "before it was ever stored", 1});
  table.restore(snapshot);
  ASSERT_TRUE(table.apply(r.config.trust));
  table.activate();
  EXPECT_TRUE(table.resolve("alpha")->revoked);
  EXPECT_EQ(r.arena->agents()[table.resolve("alpha")->index].state.load(),
            uint32_t(sluice::fabric::AgentState::kRevoked));
}

TEST_F(Revocation, SurvivesARestartOfTheControlPlane) {
  revoke("beta", "gone");
  r.drain_all();  // its notice
  r.control.reset();
  r.start();
  EXPECT_TRUE(r.control->trust().resolve("beta")->revoked);
  EXPECT_EQ(r.control->trust().resolve("beta")->revoked_reason, "gone");
  Agent& b = beta;
  r.inject(1, r.hello_frame(b));
  ASSERT_TRUE(r.poll_until([&] {
    return r.control->handshakes()
               .counts()[size_t(sluice::control::HandshakeOutcome::kRevokedIdentity)] == 1;
  }));
  EXPECT_TRUE(r.drain(1).empty());
}

TEST_F(Revocation, AddressesAreForGood) {
  const auto address = r.control->trust().resolve("alpha")->address;
  r.control.reset();
  r.start();
  EXPECT_EQ(r.control->trust().resolve("alpha")->address, address);
}

TEST_F(Revocation, AReloadWithoutThePairClosesItAndWithItOpensANewOne) {
  const uint32_t old_label = alpha.labels["beta"];
  auto trust = r.config.trust;
  trust.pairs.clear();
  ASSERT_TRUE(r.control->reload(trust));
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, alpha.peer.seal(1, 0, old_label, 0, {}, Buf(30))),
              "revoked");
  for (int i = 0; i < 20; ++i) {
    r.clock.advance_ms(10);
    r.poll(2);
    r.receive(alpha);
    r.receive(beta);
  }
  EXPECT_TRUE(alpha.labels.empty());
  ASSERT_TRUE(r.control->reload(r.config.trust));
  for (int i = 0; i < 20; ++i) {
    r.clock.advance_ms(10);
    r.poll(2);
    r.receive(alpha);
    r.receive(beta);
  }
  ASSERT_TRUE(alpha.labels.contains("beta"));
  EXPECT_NE(alpha.labels["beta"], old_label) << "a slot rests after its edge ended";
  r.send(alpha, r.datagram(alpha, "beta", Buf(10, 1)));
  r.poll_workers();
  EXPECT_EQ(r.receive(beta).size(), 1u);
}

// A control thread that stands still could not tell of a revocation.
TEST(Staleness, WorkersRefuseWhenControlHasNotRunForTooLong) {
  Rig r({.max_staleness_s = 30});
  Agent& alpha = r.add_agent(11, "alpha", 0);
  Agent& beta = r.add_agent(12, "beta", 1);
  r.trust("alpha", "beta");
  r.start();
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  r.poll(2);
  const auto send = [&] {
    r.inject(0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(40, 1))), alpha.queue);
    r.poll_workers();
    return r.receive(beta).size();
  };
  r.clock.advance_ms(29'500);
  EXPECT_EQ(send(), 1u);
  const auto before = r.counters();
  r.clock.advance_ms(500);
  EXPECT_EQ(send(), 0u);
  EXPECT_EQ(moved(before, r.counters()).at("drop.control_stale"), 1u);
  // The session itself lives: a ping is answered.
  r.inject(0, oracle::udp_frame(alpha.flow, alpha.peer.seal(0, 1, 0, 77, {}, {})), alpha.queue);
  r.poll_workers();
  EXPECT_EQ(r.receive(alpha).size(), 1u);
  r.poll(1);
  EXPECT_EQ(send(), 1u) << "control runs again";
  produced_reasons().insert("control_stale");
  r.check_balance();
}

}  // namespace
}  // namespace rig
