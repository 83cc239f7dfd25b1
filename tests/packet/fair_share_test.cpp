// A saturated worker: tenants take turns, whoever sends too much loses of his own, and new
// handshakes go first. The rig polls, so that every round is the test's.
#include "packet/expect.h"

namespace rig {
namespace {

constexpr unsigned kBurst = 32;

class Shares : public testing::Test {
 protected:
  Shares() : Shares(9) {}
  explicit Shares(uint16_t other_tenant, unsigned workers = 1) : r(rig::Setup{.workers = workers}) {
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

  void send(Agent& from, const std::string& to, unsigned n, unsigned queue = 0) {
    for (unsigned i = 0; i < n; ++i) {
      r.inject(from.port, oracle::udp_frame(from.flow, r.datagram(from, to, number(sent[to]++))),
               queue);
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

// A session that is renewed from its own endpoint passes whatever HELLOs stand before it in its
// burst, and its agent goes on; those are shed.
TEST_F(Shares, RenewalsPassWhileNewHandshakesAreShed) {
  r.clock.advance_ms(120'000);
  r.poll(2);
  r.drain_all();
  saturate();
  const auto before = r.counters();
  for (unsigned i = 0; i < 15; ++i) r.inject(0, r.hello_frame(*gamma));
  oracle::HelloOptions renewal;
  renewal.receiver = alpha->welcome.sender_index;
  renewal.sender_index = 0x2002;
  r.inject(0, r.hello_frame(*alpha, renewal));
  send(*gamma, "delta", kBurst / 2);
  r.poll_worker(0);
  auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("punted"), 2u) << "one of the new ones, and the renewal";
  EXPECT_EQ(diff.at("drop.hello_budget"), 14u);
  EXPECT_EQ(diff.at("shared_polls"), 1u);
  // It has a ring of its own; and control answers while the worker is as busy as before.
  const auto rounds = [&](unsigned n) {
    for (unsigned i = 0; i < n; ++i) {
      send(*gamma, "delta", kBurst);
      r.inject(0, r.hello_frame(*gamma));
      r.poll_worker(0);
      r.poll_control();
    }
  };
  bool renewed = false;
  for (int i = 0; i < 100 && !renewed; ++i) {
    rounds(1);
    r.clock.advance_ms(1);
    for (const Buf& f : r.drain(0)) {
      const auto parsed = oracle::parse_udp_frame(f);
      if (!parsed || parsed->payload[0] != 2 || parsed->flow.dst_port != alpha->flow.src_port) {
        continue;
      }
      const auto w = alpha->peer.read_welcome(parsed->payload);
      ASSERT_TRUE(w && w->has_session());
      EXPECT_NE(w->sender_index, alpha->welcome.sender_index);
      renewed = true;
    }
  }
  ASSERT_TRUE(renewed);
  r.drain_all();
  rounds(1);
  send(*alpha, "beta", 1);
  rounds(4);
  const auto got = arrived(*beta);
  ASSERT_FALSE(got.empty()) << "nothing arrives on the session that was renewed";
  EXPECT_EQ(got.back(), sent["beta"] - 1);
  EXPECT_GT(moved(before, r.counters()).at("shared_polls"), 5u);
  poll_to_the_end();
  r.poll(2);
  r.drain_all();
  r.check_balance();
}

// From the time at which the NIC gave it, whatever its tenant's turn.
TEST_F(Shares, LatencyIncludesTheWaitForATurn) {
  using sluice::fabric::LatencyHistogram;
  constexpr uint64_t kWaitedMs = 500;
  const auto packets = [&](uint32_t place, uint64_t at_least_ms) {
    const LatencyHistogram& h = r.arena->latencies(0)[place];
    uint64_t n = 0;
    for (size_t b = 0; b < LatencyHistogram::kBuckets; ++b) {
      if (LatencyHistogram::Scale::last(b) >= at_least_ms * 1'000'000) n += h.in_bucket(b);
    }
    return n;
  };
  const auto& places = r.control->trust().latency_places().all();
  const uint32_t of_alphas = places.at(7), of_gammas = places.at(9);
  saturate();
  send(*alpha, "beta", 3 * kBurst);
  send(*gamma, "delta", 1);
  r.poll_worker(0);
  EXPECT_EQ(packets(0, kWaitedMs), 0u);
  r.clock.advance_ms(kWaitedMs);
  r.poll_worker(0);
  EXPECT_EQ(packets(0, kWaitedMs), kBurst) << "those that one turn had to be waited for";
  EXPECT_EQ(packets(of_alphas, kWaitedMs), kBurst);
  send(*gamma, "delta", 1);
  poll_to_the_end();
  const unsigned waited = 3 * kBurst + 1 - kBurst;
  EXPECT_EQ(packets(0, kWaitedMs), waited);
  EXPECT_EQ(packets(of_alphas, kWaitedMs), waited);
  EXPECT_EQ(packets(of_gammas, kWaitedMs), 0u) << "whose turn came at once";
  EXPECT_EQ(packets(of_gammas, 0), 2u);
  EXPECT_EQ(packets(0, 0), r.counters().at("forwarded")) << "each once";
}

class TwoWorkers : public Shares {
 protected:
  TwoWorkers() : Shares(9, 2) {}
};

// What arrives on the worker that does not own its agent waits for a turn there, and then in the
// owner's ring. All of it arrives, once.
TEST_F(TwoWorkers, NothingIsLostOrCountedTwiceBetweenThem) {
  for (const Agent* a : {alpha, gamma}) {
    const auto* entry = r.control->trust().resolve(a->name);
    ASSERT_EQ(r.arena->agents()[entry->index].owner.load(), 0u);
  }
  constexpr unsigned kRounds = 40;
  const auto before = r.counters();
  std::map<std::string, std::vector<uint32_t>> got;
  const auto collect = [&] {
    take_all(*beta, got["beta"]);
    take_all(*delta, got["delta"]);
  };
  const auto poll_both = [&] {
    r.poll_worker(1);
    r.poll_worker(0);
    collect();
  };
  // A little more than a worker serves, so that some always wait, and none for long.
  for (unsigned round = 0; round < kRounds; ++round) {
    send(*alpha, "beta", 28);
    send(*gamma, "delta", 6);
    send(*alpha, "beta", 28, 1);
    send(*gamma, "delta", 6, 1);
    poll_both();
  }
  const auto busy = moved(before, r.counters());
  EXPECT_GT(busy.at("shared_polls"), kRounds) << "turns were taken on both";
  EXPECT_GT(busy.at("parked"), busy.at("resumed")) << "and some wait still";
  for (int i = 0; i < 100; ++i) poll_both();
  const auto diff = moved(before, r.counters());
  for (auto& [name, numbers] : got) {
    std::sort(numbers.begin(), numbers.end());
    EXPECT_EQ(numbers.size(), sent[name]) << name;
    EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end()) << name;
  }
  const uint64_t all = kRounds * 2 * (28 + 6);
  EXPECT_EQ(diff.at("rx_packets"), all);
  EXPECT_EQ(diff.at("forwarded"), all);
  EXPECT_EQ(diff.at("tx_packets"), all);
  EXPECT_EQ(diff.at("handed_out"), all / 2);
  EXPECT_EQ(diff.at("handed_in"), all / 2);
  EXPECT_EQ(diff.at("parked"), diff.at("resumed"));
  EXPECT_LE(diff.at("parked"), all) << "a packet waits for one turn";
  for (const auto& [name, n] : diff) EXPECT_FALSE(name.starts_with("drop.")) << name << ": " << n;
  uint64_t timed = 0, of_senders = 0;
  for (unsigned w = 0; w < 2; ++w) {
    const auto count = [&](uint32_t place) {
      uint64_t n = 0;
      const auto& h = r.arena->latencies(w)[place];
      for (size_t b = 0; b < sluice::fabric::LatencyHistogram::kBuckets; ++b) n += h.in_bucket(b);
      return n;
    };
    timed += count(0);
    for (const auto& [tenant, place] : r.control->trust().latency_places().all()) {
      of_senders += count(place);
    }
  }
  EXPECT_EQ(timed, r.counters().at("forwarded"));
  EXPECT_EQ(of_senders, timed);
  uint64_t offered = 0;
  for (const Agent* a : {alpha, gamma}) {
    offered += r.arena->agents()[r.control->trust().resolve(a->name)->index].packets.get();
  }
  EXPECT_GE(offered, all);
  EXPECT_LT(offered, all + 100) << "the agents' own counts: handshakes, and each packet once";
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
