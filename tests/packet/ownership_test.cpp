// Agents that move between workers: who may ask for it, what happens to packets on their way, and
// that no order of packets, duplicates and moves loses one or lets one pass twice.
#include <atomic>
#include <random>
#include <thread>

#include "base/annotate.h"
#include "packet/expect.h"
#include "packet/guard.h"

namespace rig {
namespace {

class Ownership : public testing::Test {
 protected:
  Ownership() : alpha(r.add_agent(11, "alpha", 0)), beta(r.add_agent(12, "beta", 1)) {
    alpha.queue = 1;
    beta.queue = 2;
    r.trust("alpha", "beta");
    r.start();
    EXPECT_TRUE(r.connect(alpha));
    EXPECT_TRUE(r.connect(beta));
    index = r.control->trust().resolve("alpha")->index;
  }
  uint32_t owner() { return r.arena->agents()[index].owner.load(); }
  void ask(unsigned from, unsigned to) {
    ASSERT_TRUE(r.plane->mailboxes().ask_to_move(from, {index, to}));
  }
  Buf numbered(uint32_t n) {
    Buf text(32, 7);
    sluice::store_le(text.data(), n);
    return oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", text));
  }

  Rig r{{.workers = 4}};
  Agent& alpha;
  Agent& beta;
  uint32_t index = 0;
};

TEST_F(Ownership, FollowsAFlowThatStaysOnAnotherQueue) {
  ASSERT_EQ(owner(), 1u);
  for (int i = 0; i < 300; ++i) r.inject(0, numbered(0), 3);
  ASSERT_TRUE(r.poll_until([&] { return owner() == 3; }));
  r.poll(20);
  r.drain_all();
  EXPECT_EQ(r.counters()["moved"], 1u);
  const auto before = r.counters();
  r.inject(0, numbered(1), 3);
  r.poll_workers();
  const auto got = r.receive(beta);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].lane, 3) << "sealed by the new owner";
  EXPECT_FALSE(moved(before, r.counters()).contains("handed_out"));
}

TEST_F(Ownership, StaysForAFlowThatComesAndGoes) {
  for (int i = 0; i < 1000; ++i) {
    r.inject(0, numbered(0), i % 100 == 0 ? 1 : 3);
    if (i % 8 == 7) r.poll();
    r.drain_all();
  }
  r.poll(5);
  EXPECT_EQ(owner(), 1u);
  EXPECT_EQ(r.counters()["moved"], 0u);
}

TEST_F(Ownership, ForgeriesAndReplaysDoNotMoveIt) {
  const Buf once = numbered(0);
  for (int i = 0; i < 600; ++i) {
    Buf forged = numbered(0);
    forged.back() ^= 1;
    r.inject(0, forged, 3);
    r.inject(0, once, 3);
    r.poll();
    r.drain_all();
  }
  EXPECT_EQ(owner(), 1u);
  EXPECT_EQ(r.counters()["drop.bad_tag"], 600u);
  EXPECT_EQ(r.counters()["drop.replay"], 599u);
}

TEST_F(Ownership, IsGivenAwayOnceASecondAtMost) {
  for (int i = 0; i < 300; ++i) r.inject(0, numbered(0), 3);
  ASSERT_TRUE(r.poll_until([&] { return owner() == 3; }));
  r.poll(20);
  for (int i = 0; i < 300; ++i) r.inject(0, numbered(0), 0);
  r.poll(40);
  EXPECT_EQ(owner(), 3u) << "within a second of the last move";
  r.clock.advance_ms(1001);
  for (int i = 0; i < 300; ++i) r.inject(0, numbered(0), 0);
  EXPECT_TRUE(r.poll_until([&] { return owner() == 0; }));
  r.poll(20);
  r.drain_all();
}

TEST_F(Ownership, OnlyTheOwnerCanGiveItAway) {
  ask(2, 3);
  ask(0, 2);
  r.poll(3);
  EXPECT_EQ(owner(), 1u);
  EXPECT_EQ(r.counters()["moved"], 0u);
}

TEST_F(Ownership, APacketOnItsWayFollowsOneMoveButNotTwo) {
  r.inject(0, numbered(1), 0);
  r.poll_worker(0);  // now in the ring to worker 1
  ask(1, 2);
  r.poll_worker(1);  // gives alpha away, and passes the packet on
  EXPECT_EQ(owner(), 2u);
  r.poll_worker(2);
  EXPECT_EQ(r.receive(beta).size(), 1u) << "one move costs nothing";

  r.drain_all();
  r.inject(0, numbered(2), 0);
  r.poll_worker(0);
  ask(2, 3);
  r.poll_worker(2);
  ask(3, 1);
  const auto before = r.counters();
  r.poll_worker(3);
  EXPECT_EQ(
      moved(before, r.counters()),
      (std::map<std::string, uint64_t>{{"handed_in", 1}, {"moved", 1}, {"drop.owner_moved", 1}}));
  EXPECT_TRUE(r.drain_all().empty());
  r.check_balance();
  produced_reasons().insert("owner_moved");
}

// Against a model: packets in a shuffled order with duplicates, on any queue; workers polled in any
// order, one at a time; moves at any time. What arrives is each packet once, or its death stands in
// a counter.
TEST_F(Ownership, AnyOrderOfPacketsDuplicatesAndMovesAgreesWithTheModel) {
  constexpr uint32_t kPackets = 4000;
  for (uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    std::vector<Buf> frames;
    for (uint32_t i = 0; i < kPackets; ++i) frames.push_back(numbered(i));
    // Close to their order, as networks have it: far under the window.
    std::vector<std::pair<uint64_t, uint32_t>> order;
    for (uint32_t i = 0; i < kPackets; ++i) {
      order.emplace_back(i + random() % 300, i);
      while (random() % 3 == 0) order.emplace_back(i + random() % 300, i);
    }
    std::sort(order.begin(), order.end());
    const auto before = r.counters();
    std::vector<unsigned> copies(kPackets), arrived(kPackets);
    std::set<std::pair<unsigned, uint64_t>> nonces;
    const auto collect = [&] {
      for (const auto& f : r.receive(beta)) {
        ++arrived.at(sluice::load_le<uint32_t>(f.rest.data()));
        EXPECT_TRUE(nonces.emplace(f.lane, f.seq).second) << "a nonce used twice";
      }
    };
    for (const auto& [when, n] : order) {
      ++copies[n];
      r.inject(0, frames[n], static_cast<unsigned>(random() % 4));
      if (random() % 2 == 0) r.poll_worker(static_cast<unsigned>(random() % 4));
      if (random() % 40 == 0) ask(owner(), static_cast<unsigned>(random() % 4));
      if (random() % 64 == 0) collect();
    }
    for (int i = 0; i < 100; ++i) r.poll_workers();
    collect();
    const auto diff = moved(before, r.counters());
    const auto count = [&](const char* name) {
      const auto it = diff.find(name);
      return it == diff.end() ? uint64_t{0} : it->second;
    };
    EXPECT_GT(count("moved"), 30u);
    EXPECT_GT(count("handed_out"), kPackets / 4);
    uint64_t once = 0, lost = 0;
    for (uint32_t n = 0; n < kPackets; ++n) {
      EXPECT_LE(arrived[n], 1u) << "packet " << n << " passed " << arrived[n] << " times";
      (arrived[n] == 1 ? once : lost) += 1;
    }
    // Every copy is forwarded, a replay of one that was, or moved twice under way.
    EXPECT_EQ(once + count("drop.replay") + count("drop.owner_moved") + count("drop.handover_full"),
              order.size());
    EXPECT_LE(lost, count("drop.owner_moved") + count("drop.handover_full"));
    EXPECT_EQ(count("forwarded"), once);
    r.check_balance();
  }
}

// The same with threads: four workers, here on however many cores there are, while control is busy
// with handshakes and reloads. A packet sees one move at most, so nothing may be lost at all.
TEST_F(Ownership, FourThreadsLoseNothingAndAcceptNothingTwice) {
#if defined(SLUICE_ASAN) || defined(SLUICE_TSAN)
  constexpr uint32_t kPackets = 6000;
#else
  constexpr uint32_t kPackets = 20000;
#endif
  constexpr uint32_t kInFlight = 128;
  Agent& gamma = r.add_agent(13, "gamma", 0);
  r.trust("gamma", "beta");
  ASSERT_TRUE(r.control->reload(r.config.trust));
  ASSERT_TRUE(r.poll_until([&] { return r.control->trust().resolve("gamma")->durable; }));
  const auto before = r.counters();
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (unsigned w = 0; w < 4; ++w) {
    threads.emplace_back([this, w, &stop] {
      const WorkerGuard guard;
      r.plane->worker(w).run(stop);
    });
  }
  std::mt19937_64 random(5);
  std::vector<unsigned> arrived(kPackets);
  std::set<std::pair<unsigned, uint64_t>> nonces;
  uint32_t next = 0, oldest = 0, since_move = 0;
  uint64_t copies = 0, moves = 0, hellos = 0;
  uint32_t asked_for = owner();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (oldest < kPackets && std::chrono::steady_clock::now() < end) {
    if (next < kPackets && next < oldest + kInFlight) {
      const Buf frame = numbered(next++);
      ++since_move;
      for (bool again = true; again; again = random() % 4 == 0) {
        r.inject(0, frame, static_cast<unsigned>(random() % 4));
        ++copies;
      }
    }
    if (since_move > 2 * kInFlight && owner() == asked_for) {
      asked_for = (owner() + 1 + static_cast<unsigned>(random() % 3)) % 4;
      ask(owner(), asked_for);
      since_move = 0;
      ++moves;
      if (moves % 8 == 0) r.inject(0, r.hello_frame(gamma), 0), ++hellos;
      if (moves % 16 == 0) {
        r.config.trust.agents[1].rate.packets_per_s = moves % 32 == 0 ? 0 : 1'000'000'000;
        EXPECT_TRUE(r.control->reload(r.config.trust));
      }
    }
    r.poll_control();
    for (const auto& f : r.receive(beta)) {
      ++arrived.at(sluice::load_le<uint32_t>(f.rest.data()));
      EXPECT_TRUE(nonces.emplace(f.lane, f.seq).second) << "a nonce used twice";
    }
    while (oldest < next && arrived[oldest] != 0) ++oldest;
  }
  EXPECT_EQ(oldest, kPackets) << "packet " << oldest << " never arrived";
  // What is still on its way are duplicates.
  const auto settled = [&] {
    const auto c = moved(before, r.counters());
    const auto it = c.find("drop.replay");
    return (it == c.end() ? 0 : it->second) + kPackets >= copies;
  };
  while (!settled() && std::chrono::steady_clock::now() < end) r.poll_control();
  stop = true;
  for (auto& t : threads) t.join();
  r.poll(20);
  for (uint32_t n = 0; n < kPackets; ++n) EXPECT_EQ(arrived[n], 1u) << "packet " << n;
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("drop.replay"), copies - kPackets);
  EXPECT_FALSE(diff.contains("drop.owner_moved"));
  EXPECT_FALSE(diff.contains("drop.handover_full"));
  EXPECT_GE(diff.at("moved"), moves - 1);
  EXPECT_GT(diff.at("handed_out"), kPackets / 4);
  EXPECT_GT(moves, kPackets / 1000);
  EXPECT_GT(hellos, 0u);
  r.drain_all();
  r.check_balance();
}

}  // namespace
}  // namespace rig
