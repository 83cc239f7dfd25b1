// What guessing labels tells an agent that is connected: nothing is ever sent for one, whatever it
// might have been, and its own traffic beside the guesses takes as long.
#include <cstdio>
#include <random>

#include "packet/ceremony_fixture.h"
#include "packet/expect.h"
#include "packet/guard.h"
#include "welch.h"

namespace rig {
namespace {

constexpr unsigned kOfEach = 100'000;
constexpr unsigned kInOneRound = 4;  // guesses, and behind them a packet of the agent's own
// What the quietest of networks adds to an agent's clock, as a standard deviation. Here the
// worker's own rounds are timed to the cycle, in which branches that were foreseen show as a
// nanosecond.
constexpr double kJitterUs = 1;

class Labels : public Ceremony {
 protected:
  Labels() : Ceremony(false, rig::Setup{.workers = 1}) {
    // Alpha and beta have a pair on slots that were theirs before, gamma and beta another.
    const auto [asked, granted] = agree();
    EXPECT_TRUE(reaches(alpha, beta));
    former = {alpha.labels.at("beta"), beta.labels.at("alpha")};
    EXPECT_EQ(submit(alpha, sign(alpha, revoke(digest_of(asked), digest_of(granted)))), "ok");
    r.clock.advance_ms(sluice::fabric::kEdgeRestMs + 1000);
    r.poll(4);
    for (Agent* a : {&alpha, &beta, &gamma}) EXPECT_TRUE(r.connect(*a));
    (void)agree();
    const pb::Signed across = sign(gamma, request(gamma, beta));
    EXPECT_EQ(submit(gamma, across), "ok");
    EXPECT_EQ(submit(beta, sign(beta, grant(across, beta))), "ok");
    EXPECT_TRUE(reaches(alpha, beta));
    EXPECT_TRUE(reaches(gamma, beta));
    r.drain_all();
  }
  void SetUp() override {
    const uint32_t now = alpha.labels.at("beta");
    ASSERT_EQ(now & 0xffffff, former[0] & 0xffffff);
    ASSERT_NE(now, former[0]);
    const uint32_t edges = r.arena->sizes().edges;
    const uint32_t unused = edges - 8;
    classes = {
        {"never issued", {unused | 1u << 24, (unused + 1) | 1u << 24, (unused + 2) | 2u << 24}},
        {"beyond the table", {edges | 1u << 24, (edges + 1) | 1u << 24, 0x01ffffff}},
        {"another's", {gamma.labels.at("beta"), beta.labels.at("gamma"), beta.labels.at("alpha")}},
        {"an old generation", {former[0], former[1], former[0]}},
    };
    for (const uint32_t slot : {unused, unused + 1, unused + 2}) {
      ASSERT_EQ(r.arena->edges()[slot].state(), sluice::fabric::EdgeState::kFree);
    }
  }
  void guess(uint8_t frame, uint32_t label, const Buf& extension, const Buf& rest) {
    const uint64_t call = frame == 1 ? 0 : 77;
    const uint8_t flags = frame == 5 ? 1 : 0;  // an acceptance is a reply
    r.inject(alpha.port, oracle::udp_frame(alpha.flow, alpha.peer.seal(frame, flags, label, call,
                                                                       extension, rest)));
  }

  std::array<uint32_t, 2> former{};
  std::map<std::string, std::array<uint32_t, 3>> classes;
};

TEST_F(Labels, GuessesOfAnyKindGetNoAnswerAndTakeAsLong) {
  const bool quick = !WorkerGuard::traps_allocations();  // sanitizers; their times tell nothing
  const unsigned rounds = (quick ? kOfEach / 20 : kOfEach) / kInOneRound;
  classes["planted"] = classes.at("never issued");
  std::vector<std::string> order;
  for (const auto& [name, labels] : classes) order.insert(order.end(), rounds, name);
  std::mt19937 random(1);
  std::shuffle(order.begin(), order.end(), random);
  std::map<std::string, std::vector<double>> times;
  const auto before = r.counters();
  const uint64_t microsecond = r.clock.hz() / 1'000'000;
  auto& worker = r.plane->worker(0);
  size_t heard = 0;
  for (const std::string& name : order) {
    const auto& labels = classes.at(name);
    for (unsigned i = 0; i < kInOneRound; ++i) guess(1, labels[random() % 3], {}, Buf(24));
    r.inject(alpha.port, oracle::udp_frame(alpha.flow, r.datagram(alpha, "beta", Buf(24, 1))));
    const uint64_t wait = name == "planted" ? microsecond : 0;
    const uint64_t began = r.clock.ticks();
    while (r.clock.ticks() - began < wait) {
    }
    worker.poll_once();
    times[name].push_back(double(r.clock.ticks() - began));
    heard += r.drain_all().size();
  }
  EXPECT_EQ(heard, order.size()) << "more left than the agent's own packets";
  const auto diff = moved(before, r.counters());
  EXPECT_EQ(diff.at("drop.no_edge"), order.size() * kInOneRound);
  EXPECT_EQ(diff.at("forwarded"), order.size());
  EXPECT_EQ(diff.at("tx_packets"), order.size());
  for (const auto& [name, n] : diff) {
    EXPECT_TRUE(!name.starts_with("drop.") || name == "drop.no_edge") << name << ": " << n;
  }
  if (quick) return;
  auto samples = timing::cropped(times);
  for (auto& [name, s] : samples) s.variance += std::pow(kJitterUs * r.clock.hz() / 1e6, 2);
  const timing::Sample other = samples.at("another's");
  for (const auto& [name, s] : samples) {
    const double t = timing::welch(s, other);
    std::printf("%-17s %zu rounds of %.0f ns, t %+.2f\n", name.c_str(), s.size,
                1e9 * s.mean / double(r.clock.hz()), t);
    if (name == "planted") {
      EXPECT_GT(t, timing::kSuspicious) << "a microsecond is not found";
    } else {
      EXPECT_LT(std::abs(t), timing::kSuspicious) << name;
    }
  }
}

// Frames of calls are denied where a caller may know why, and it may know nothing of these.
TEST_F(Labels, NorDoFramesOfCalls) {
  const auto before = r.counters();
  const std::pair<uint8_t, size_t> frames[] = {{2, 208}, {3, 0}, {4, 16}, {5, 96}};
  unsigned sent = 0;
  for (unsigned i = 0; i < 5000; ++i) {
    for (const auto& [name, labels] : classes) {
      const auto& [frame, extension] = frames[i % 4];
      guess(frame, labels[i % 3], Buf(extension, frame == 2 ? 0x33 : 0),
            frame == 3 ? Buf(24) : Buf());
      ++sent;
    }
    r.poll_workers();
  }
  EXPECT_TRUE(r.drain_all().empty());
  const auto diff = moved(before, r.counters());
  uint64_t drops = 0;
  for (const auto& [name, n] : diff) drops += name.starts_with("drop.") ? n : 0;
  EXPECT_EQ(drops, sent);
  // An agent that opens call after call in vain is not listened to for a while.
  const uint64_t opens = sent / 4;
  EXPECT_GE(diff.at("drop.no_edge"), sent - opens);
  EXPECT_EQ(diff.at("call.no_edge"), opens);
  EXPECT_FALSE(diff.contains("denials")) << "an answer";
  EXPECT_FALSE(diff.contains("forwarded"));
}

}  // namespace
}  // namespace rig
