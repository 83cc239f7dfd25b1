// How long packets were in the relay: what counts, where, from when on. The clock moves between two
// workers' rounds, so times are known.
#include "packet/call_fixture.h"

namespace rig {
namespace {

using sluice::fabric::LatencyHistogram;

struct Seen {
  uint64_t packets = 0;
  uint64_t longest_ns = 0;
  uint64_t at_least(uint64_t ns) const {
    uint64_t n = 0;
    for (const auto& [bucket, count] : buckets) {
      if (LatencyHistogram::Scale::last(bucket) >= ns) n += count;
    }
    return n;
  }
  std::map<size_t, uint64_t> buckets;
};

Seen seen(Rig& r, uint32_t worker, uint32_t place) {
  const LatencyHistogram& h = r.arena->latencies(worker)[place];
  Seen out;
  out.longest_ns = h.longest_ns();
  for (size_t b = 0; b < LatencyHistogram::kBuckets; ++b) {
    if (h.in_bucket(b) == 0) continue;
    out.packets += h.in_bucket(b);
    out.buckets[b] = h.in_bucket(b);
  }
  return out;
}

uint64_t of_workers(Rig& r, uint32_t place) {
  uint64_t out = 0;
  for (uint32_t w = 0; w < r.arena->sizes().workers; ++w) out += seen(r, w, place).packets;
  return out;
}

constexpr uint64_t kMs = 1'000'000;

class Latency : public testing::Test {
 protected:
  explicit Latency(const rig::Setup& setup = {})
      : r(setup),
        alpha(r.add_agent(11, "alpha", 0)),
        beta(r.add_agent(12, "beta", 1)),
        gamma(r.add_agent(13, "gamma", 1, false, 9)) {
    r.trust("alpha", "beta");
    r.trust("gamma", "beta");
  }
  void SetUp() override {
    r.start();
    for (Agent* a : {&alpha, &beta, &gamma}) ASSERT_TRUE(r.connect(*a));
    r.drain_all();
    before = of_workers(r, 0);
  }
  void inject(Agent& from, unsigned queue) {
    r.inject(from.port, oracle::udp_frame(from.flow, r.datagram(from, "beta", Buf(64, 1))), queue);
  }

  Rig r;
  Agent& alpha;
  Agent& beta;
  Agent& gamma;
  uint64_t before = 0;
};

TEST_F(Latency, CountsForwardedDataAndNothingElse) {
  EXPECT_EQ(before, 0u) << "handshakes, CONTROL and their acknowledgements are none";
  for (int i = 0; i < 5; ++i) inject(alpha, 0);
  r.inject(0, oracle::udp_frame(alpha.flow, alpha.peer.seal(4, 1, 0, 77, {}, {})), 0);  // a ping
  r.inject(0, oracle::udp_frame(alpha.flow, alpha.peer.seal(1, 0, 5, 0, {}, Buf(64))), 0);
  r.poll_workers();
  EXPECT_EQ(of_workers(r, 0), r.counters()["forwarded"]);
  EXPECT_EQ(of_workers(r, 0), 5u) << "not the answer to the ping, nor what died";
  EXPECT_EQ(of_workers(r, 1), 5u) << "all of tenant 7, whose agent came first";
  EXPECT_EQ(of_workers(r, 2), 0u);
  EXPECT_LT(seen(r, 0, 0).longest_ns, 1000 * kMs);
}

TEST_F(Latency, IsOfTheSendersTenant) {
  for (int i = 0; i < 3; ++i) inject(alpha, 0);
  for (int i = 0; i < 4; ++i) inject(gamma, 0);
  inject(alpha, 0);
  r.poll_workers();
  r.poll_workers();
  const auto& places = r.control->trust().latency_places().all();
  ASSERT_EQ(places.size(), 2u);
  EXPECT_EQ(of_workers(r, places.at(7)), 4u);
  EXPECT_EQ(of_workers(r, places.at(9)), 4u);
  EXPECT_EQ(of_workers(r, 0), 8u);
}

// It arrives at a worker that does not own its agent, and waits in the owner's ring.
TEST_F(Latency, WaitingForTheOwnerCountsFromTheArrivalOn) {
  const uint32_t owner = r.arena->agents()[0].owner.load();
  inject(alpha, 1 - owner);
  r.poll_worker(1 - owner);
  ASSERT_EQ(r.counters()["handed_out"] - r.counters()["handed_in"], 1u);
  r.clock.advance_ms(500);
  inject(alpha, owner);
  r.poll_worker(owner);
  const Seen all = seen(r, owner, 0);
  EXPECT_EQ(all.packets, 2u);
  EXPECT_EQ(all.at_least(500 * kMs), 1u) << "the one that waited, and not the one that came later";
  EXPECT_GE(all.longest_ns, 500 * kMs);
  EXPECT_EQ(seen(r, owner, 1).at_least(500 * kMs), 1u);
  EXPECT_EQ(seen(r, 1 - owner, 0).packets, 0u) << "who gave it to the NIC counts it";
}

class LatencyOfTenants : public Latency {
 protected:
  LatencyOfTenants() : Latency(rig::Setup{.latency_tenants = 1}) {}
};

TEST_F(LatencyOfTenants, WithoutAPlaceCountWithTheWorkerAlone) {
  inject(gamma, 0);
  inject(alpha, 0);
  r.poll_workers();
  EXPECT_EQ(of_workers(r, 0), 2u);
  EXPECT_EQ(of_workers(r, 1), 1u);
  EXPECT_EQ(r.control->trust().latency_places().without(), 1u);
}

class NoLatency : public Latency {
 protected:
  NoLatency() : Latency(rig::Setup{.latency = false}) {}
  void SetUp() override {
    r.start();
    for (Agent* a : {&alpha, &beta, &gamma}) ASSERT_TRUE(r.connect(*a));
  }
};

TEST_F(NoLatency, TakesNoMemoryAndForwards) {
  EXPECT_TRUE(r.arena->latencies(0).empty());
  EXPECT_EQ(r.control->trust().latency_places().without(), 0u);
  inject(alpha, 0);
  r.poll_workers();
  EXPECT_EQ(r.counters()["forwarded"], 1u);
}

class LatencyOfCalls : public Calls {
 protected:
  LatencyOfCalls() : Calls(rig::Setup{.workers = 1}) {}
};

// Eight signatures are verified in a round; the ninth call waits for the next.
TEST_F(LatencyOfCalls, IncludeTheWaitForASignature) {
  std::vector<Buf> packets;
  for (int i = 0; i < 9; ++i) {
    const Envelope e = envelope();
    packets.push_back(alpha->peer.seal(2, 0, to_beta(), e.counter, e.signed_by(alpha->peer), {}));
  }
  arrive_at_once(*alpha, packets);
  r.poll_worker(0);
  ASSERT_EQ(r.counters()["parked"] - r.counters()["resumed"], 1u);
  EXPECT_EQ(seen(r, 0, 0).packets, 8u);
  r.clock.advance_ms(500);
  r.poll_worker(0);
  const Seen all = seen(r, 0, 0);
  EXPECT_EQ(all.packets, 9u);
  EXPECT_EQ(all.packets, r.counters()["forwarded"]);
  EXPECT_EQ(all.at_least(500 * kMs), 1u);
  EXPECT_EQ(seen(r, 0, 1).at_least(500 * kMs), 1u);
}

}  // namespace
}  // namespace rig
