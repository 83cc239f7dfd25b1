// The token buckets: of an edge, of an agent, of a tenant over all its agents and workers. The
// rates are of one packet a second, so that a slow machine refills nothing meanwhile.
#include "packet/expect.h"

namespace rig {
namespace {

using sluice::control::RateConfig;

constexpr RateConfig kOneASecond{.packets_per_s = 1, .burst_ms = 3000};  // 4 at once
constexpr RateConfig kOne{.packets_per_s = 1, .burst_ms = 1};

class Rate : public testing::Test {
 protected:
  Rate()
      : alpha(r.add_agent(11, "alpha", 0)),
        beta(r.add_agent(12, "beta", 1)),
        gamma(r.add_agent(13, "gamma", 1)) {
    r.trust("alpha", "beta");
    r.trust("alpha", "gamma");
    gamma.queue = 1;
  }
  void start() {
    r.start();
    for (Agent* a : {&alpha, &beta, &gamma}) EXPECT_TRUE(r.connect(*a));
  }
  sluice::control::TrustPair& pair(const std::string& to) {
    for (auto& p : r.config.trust.pairs) {
      if (p.to == to) return p;
    }
    throw std::runtime_error("no such pair");
  }
  // How many of `n` arrive, on the sender's own queue.
  unsigned pass(Agent& from, Agent& to, unsigned n, size_t size = 64) {
    r.drain_all();
    for (unsigned i = 0; i < n; ++i) {
      r.inject(from.port, oracle::udp_frame(from.flow, r.datagram(from, to.name, Buf(size, 1))),
               from.queue);
    }
    for (unsigned polled = 0; polled <= n; polled += r.config.topology.burst) r.poll_workers();
    return static_cast<unsigned>(r.receive(to).size());
  }
  void reload() { ASSERT_TRUE(r.control->reload(r.config.trust)); }

  Rig r;
  Agent& alpha;
  Agent& beta;
  Agent& gamma;
};

TEST_F(Rate, OfAnEdgeInOneDirection) {
  pair("beta").forward_rate = kOneASecond;
  start();
  EXPECT_EQ(pass(alpha, beta, 10), 4u);
  EXPECT_EQ(r.counters()["drop.edge_rate"], 6u);
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(64, 1))),
              "edge_rate");
  EXPECT_EQ(pass(beta, alpha, 10), 10u) << "the way back has no rate";
  EXPECT_EQ(pass(alpha, gamma, 10), 10u) << "nor has another edge";
  r.clock.advance_ms(2000);
  EXPECT_EQ(pass(alpha, beta, 10), 2u);
  r.clock.advance_ms(60'000);
  EXPECT_EQ(pass(alpha, beta, 10), 4u) << "no more than the burst is ever saved up";
}

TEST_F(Rate, OfAnAgentOverAllItsEdges) {
  r.config.trust.agents[0].rate = kOneASecond;
  start();
  EXPECT_EQ(pass(alpha, beta, 3), 3u);
  EXPECT_EQ(pass(alpha, gamma, 3), 1u);
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(64, 1))),
              "agent_rate");
  EXPECT_EQ(pass(beta, alpha, 10), 10u);
  // A reload changes it on the spot: the same edges, the same sessions.
  r.config.trust.agents[0].rate = {};
  reload();
  EXPECT_EQ(pass(alpha, beta, 10), 10u);
}

TEST_F(Rate, InBytesAsWellAsPackets) {
  pair("beta").forward_rate = {.bytes_per_s = 1000, .burst_ms = 2000};
  pair("gamma").forward_rate = {.packets_per_s = 1, .bytes_per_s = 1'000'000, .burst_ms = 1000};
  start();
  // 452 and 48 bytes of headers are 500: half a second each; the one that reaches into the end of
  // the burst still passes.
  EXPECT_EQ(pass(alpha, beta, 10, 452), 5u);
  EXPECT_EQ(pass(alpha, gamma, 10), 2u) << "the stricter measure counts";
}

TEST_F(Rate, WhatTheEdgeRefusesIsChargedToNone) {
  pair("beta").forward_rate = kOne;
  r.config.trust.agents[0].rate = kOneASecond;
  start();
  EXPECT_EQ(pass(alpha, beta, 10), 1u);
  EXPECT_EQ(r.counters()["drop.edge_rate"], 9u);
  EXPECT_EQ(pass(alpha, gamma, 10), 3u) << "nine refused packets took nothing from the agent";
}

// Of the next two: what the others still have shows once the limit that refused is taken away.
TEST_F(Rate, WhatTheAgentRefusesIsChargedToNone) {
  pair("beta").forward_rate = kOneASecond;
  r.config.trust.agents[0].rate = kOne;
  start();
  EXPECT_EQ(pass(alpha, beta, 10), 1u);
  EXPECT_EQ(r.counters()["drop.agent_rate"], 9u);
  r.config.trust.agents[0].rate = {};
  reload();
  EXPECT_EQ(pass(alpha, beta, 10), 3u) << "nine refused packets took nothing from the edge";
}

TEST_F(Rate, WhatTheTenantRefusesIsChargedToNone) {
  pair("beta").forward_rate = {.packets_per_s = 1, .burst_ms = 2000};  // 3 at once
  r.config.trust.agents[0].rate = kOneASecond;
  r.config.trust.tenants.push_back({0, 7, kOne});
  start();
  EXPECT_EQ(pass(alpha, beta, 10), 1u);
  EXPECT_EQ(r.counters()["drop.tenant_rate"], 9u);
  r.config.trust.tenants.clear();
  reload();
  EXPECT_EQ(pass(alpha, beta, 10), 2u) << "the edge was charged once";
  EXPECT_EQ(pass(alpha, gamma, 10), 1u) << "the agent three times";
}

TEST_F(Rate, OfATenantDividedAmongTheWorkersByWhatIsOffered) {
  constexpr double kBurst = 40;
  r.config.trust.tenants.push_back({0, 7, {.packets_per_s = 1, .burst_ms = 40'000}});
  start();
  const auto share = [&](unsigned worker) {
    const auto ticks = r.arena->tenant_share(worker, 0).bucket.limit().ticks_per_packet;
    return double(r.clock.hz()) / double(ticks);
  };
  r.clock.advance_ms(200'000);  // every bucket full
  ASSERT_TRUE(r.connect(alpha));
  ASSERT_TRUE(r.connect(beta));
  ASSERT_TRUE(r.connect(gamma));
  EXPECT_NEAR(share(0) + share(1), 1, 1e-6);
  EXPECT_NEAR(share(0), 0.5, 1e-6) << "nothing offered lately: equal parts";
  // A bucket of half the rate and 40 s is 20 packets, and the one that reaches into it.
  EXPECT_EQ(pass(alpha, beta, 100), kBurst / 2 + 1);
  expect_drop(r, 0, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(64, 1))),
              "tenant_rate");
  EXPECT_EQ(pass(gamma, alpha, 5), 5u) << "on the other worker is still room";
  // All of what was offered since the last division counts: 101 here, 5 there.
  r.clock.advance_ms(60);
  r.control->poll();
  EXPECT_NEAR(share(0) + share(1), 1, 1e-6) << "never more than the limit";
  EXPECT_NEAR(share(0), 0.125 + 0.75 * 101 / 106, 1e-6);
  // No limit any more: at once.
  r.config.trust.tenants.clear();
  reload();
  EXPECT_EQ(pass(alpha, beta, 100), 100u);
}

TEST_F(Rate, MoreTenantsThanThereIsRoomForChangeNothing) {
  start();
  auto trust = r.config.trust;
  for (uint16_t id = 7; id < 7 + 100; ++id) trust.tenants.push_back({0, id, kOneASecond});
  const auto change = r.control->reload(trust);
  ASSERT_FALSE(change);
  EXPECT_NE(change.error().message.find("limits.tenants is"), std::string::npos);
  EXPECT_EQ(pass(alpha, beta, 10), 10u) << "nothing of it is in force";
}

}  // namespace
}  // namespace rig
