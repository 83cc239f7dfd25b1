// A saturated worker: tenants take turns, whoever sends too much loses of his own, and new
// handshakes go first. The rig polls, so that every round is the test's.
#include "packet/expect.h"

namespace rig {
namespace {

constexpr unsigned kBurst = 32;

class Shares : public testing::Test {
 protected:
  Shares() : Shares(9) {}
  explicit Shares(uint16_t other_tenant) : r(rig::Setup{.workers = 1}) {
    r.config.topology.burst = kBurst;
    alpha = &r.add_agent(11, "alpha", 0);
    beta = &r.add_agent(12, "beta", 1);
    gamma = &r.add_agent(13, "gamma", 0, false, other_tenant);
    delta = &r.add_agent(14, "delta", 0, false, other_tenant);  // beta's port is another
    r.trust("alpha", "beta");
    r.trust("gamma", "delta");
    r.start();
    for (Agent* a : {alpha, beta, gamma, delta}) EXPECT_TRUE(r.connect(*a));
    r.drain_all();
  }

  void send(Agent& from, const std::string& to, unsigned n) {
    for (unsigned i = 0; i < n; ++i) {
      r.inject(from.port, oracle::udp_frame(from.flow, r.datagram(from, to, number(sent[to]++))));
    }
  }
  static Buf number(uint32_t n) {
    Buf out(64, 0);
    for (int i = 0; i < 4; ++i) out[size_t(i)] = uint8_t(n >> 8 * i);
    return out;
  }
  // The numbers that arrived since it was asked last.
  std::vector<uint32_t> arrived(Agent& at) {
    std::vector<uint32_t> out;
    for (const auto& got : r.receive(at)) {
      const Buf& body = got.rest;
      out.push_back(uint32_t(body[0]) | uint32_t(body[1]) << 8 | uint32_t(body[2]) << 16);
    }
    return out;
  }
  void take_all(Agent& at, std::vector<uint32_t>& into) {
    for (const uint32_t n : arrived(at)) into.push_back(n);
  }
  // As many full bursts as it takes until turns are taken, of alpha's.
  void saturate() {
    for (int i = 0; i < 16; ++i) {
      send(*alpha, "beta", kBurst);
      r.poll_worker(0);
    }
    ASSERT_EQ(arrived(*beta).size(), 16u * kBurst);
    ASSERT_EQ(r.counters()["shared_polls"], 0u);
  }
  void poll_to_the_end() {
    for (int i = 0; i < 200; ++i) r.poll_worker(0);
  }

  Rig r;
  Agent *alpha, *beta, *gamma, *delta;
  std::map<std::string, uint32_t> sent;
};

TEST_F(Shares, WhoSendsLittleDoesNotWaitForWhoSendsMuch) {
  saturate();
  const auto before = r.counters();
  std::vector<uint32_t> rest;
  // Four bursts a round are taken from the queue, one is served.
  for (int round = 0; round < 24; ++round) {
    send(*alpha, "beta", 4 * kBurst - 2);
    send(*gamma, "delta", 2);
    r.poll_worker(0);
    EXPECT_EQ(arrived(*delta).size(), 2u) << "in round " << round << ", at once";
    take_all(*beta, rest);
  }
  const auto lost = moved(before, r.counters());
  EXPECT_GT(lost.at("drop.tenant_share"), 1000u);
  EXPECT_EQ(lost.at("shared_polls"), 24u);
  poll_to_the_end();
  take_all(*beta, rest);
  const auto diff = moved(before, r.counters());
  // All that is lost is alpha's, and for no other reason; what is not lost arrives in its order.
  EXPECT_TRUE(std::is_sorted(rest.begin(), rest.end()));
  EXPECT_EQ(rest.size(), diff.at("forwarded") - 48);
  EXPECT_EQ(diff.at("forwarded"), 24u * 4 * kBurst - diff.at("drop.tenant_share"));
  EXPECT_EQ(diff.at("parked"), diff.at("resumed"));
  EXPECT_EQ(diff.at("parked"), diff.at("forwarded"));
  for (const auto& [name, n] : diff) {
    EXPECT_TRUE(!name.starts_with("drop.") || name == "drop.tenant_share") << name << ": " << n;
  }
  r.check_balance();
  // And over: what comes now waits for nobody.
  const auto after = r.counters();
  send(*alpha, "beta", 5);
  r.poll_worker(0);
  EXPECT_EQ(arrived(*beta).size(), 5u);
  EXPECT_FALSE(moved(after, r.counters()).contains("shared_polls"));
  produced_reasons().insert("tenant_share");
}

TEST_F(Shares, OfBytesAreEqualWhateverThePacketsLengths) {
  saturate();
  for (int round = 0; round < 12; ++round) {
    send(*alpha, "beta", 2 * kBurst);
    for (unsigned i = 0; i < kBurst; ++i) {
      r.inject(gamma->port, oracle::udp_frame(gamma->flow, r.datagram(*gamma, "delta", Buf(1200))));
    }
    r.poll_worker(0);
  }
  arrived(*beta);
  r.receive(*delta);
  for (int round = 0; round < 4; ++round) r.poll_worker(0);
  const double small = double(arrived(*beta).size()) * (32 + 16 + 64 + 192);
  const double large = double(r.receive(*delta).size()) * (32 + 16 + 1200 + 192);
  EXPECT_NEAR(small / large, 1, 0.15) << small << " " << large;
  poll_to_the_end();
  r.check_balance();
}

TEST_F(Shares, WhatWaitsIsAuthorisedWhenItsTurnComes) {
  saturate();
  for (int round = 0; round < 6; ++round) {
    send(*alpha, "beta", 4 * kBurst);
    r.poll_worker(0);
  }
  arrived(*beta);
  auto& gate = r.arena->edges()[alpha->labels["beta"] & 0xffffff].gate;
  const auto before = r.counters();
  ASSERT_EQ(gate.load() & 0xff, uint64_t(sluice::fabric::EdgeState::kOpen));
  gate.store((gate.load() & ~uint64_t{0xff}) | uint64_t(sluice::fabric::EdgeState::kRevoked));
  poll_to_the_end();
  const auto diff = moved(before, r.counters());
  EXPECT_TRUE(arrived(*beta).empty());
  EXPECT_GT(diff.at("drop.revoked"), 100u);
  EXPECT_EQ(diff.at("drop.revoked"), diff.at("resumed"));
  r.check_balance();
}

// Whoever does not send from an agent's address takes nothing of its tenant's share.
TEST_F(Shares, StrangersShareOneQueue) {
  saturate();
  const size_t in_use = r.buffers_in_use();
  for (int round = 0; round < 12; ++round) {
    // Two of each burst pass the budget of roaming: more than half of what one round serves.
    for (unsigned burst = 0; burst < 4; ++burst) {
      for (unsigned i = 0; i < 2; ++i) {
        auto flow = gamma->flow;
        flow.src_port = uint16_t(20'000 + i);
        Buf forged = r.datagram(*gamma, "delta", Buf(1200));
        forged.back() ^= 1;
        r.inject(gamma->port, oracle::udp_frame(flow, forged));
      }
      send(*alpha, "beta", kBurst - 3);
      send(*(burst == 3 ? gamma : alpha), burst == 3 ? "delta" : "beta", 1);
    }
    r.poll_worker(0);
    EXPECT_EQ(arrived(*delta).size(), 1u);
  }
  poll_to_the_end();
  r.drain_all();
  EXPECT_EQ(r.buffers_in_use(), in_use);
  r.check_balance();
}

TEST_F(Shares, NewHandshakesAreShedFirst) {
  const auto hellos = [&] {
    const auto before = r.counters();
    for (unsigned i = 0; i < kBurst / 2; ++i) {
      r.inject(0, r.hello_frame(*alpha));
      send(*alpha, "beta", 1);
    }
    r.poll_worker(0);
    return moved(before, r.counters());
  };
  EXPECT_EQ(hellos().at("punted"), 16u);
  r.poll_control();
  poll_to_the_end();
  r.drain_all();
  for (int i = 0; i < 16; ++i) {
    send(*alpha, "beta", kBurst);
    r.poll_worker(0);
  }
  const auto diff = hellos();
  EXPECT_EQ(diff.at("punted"), 1u);
  EXPECT_EQ(diff.at("drop.hello_budget"), 15u);
  poll_to_the_end();
  r.check_balance();
}

class OneTenant : public Shares {
 protected:
  OneTenant() : Shares(7) {}
};

TEST_F(OneTenant, WaitsForNobody) {
  saturate();
  const auto before = r.counters();
  for (int round = 0; round < 24; ++round) {
    send(*alpha, "beta", kBurst);
    r.poll_worker(0);
  }
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("forwarded"), 24u * kBurst);
  EXPECT_FALSE(diff.contains("shared_polls"));
  EXPECT_FALSE(diff.contains("parked"));
}

}  // namespace
}  // namespace rig
