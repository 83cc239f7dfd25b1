// The generator's histogram against the values themselves, and the rules by which agents are
// paired.
#include "pktgen/histogram.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "pktgen/pacer.h"
#include "pktgen/population.h"

namespace sluice::pktgen {
namespace {

TEST(Histogram, BucketsAreSeamless) {
  uint64_t first = 0;
  const size_t last_bucket = Histogram::bucket_of(Histogram::kLimit);
  for (size_t b = 0; b <= last_bucket; ++b) {
    const uint64_t last = Histogram::last_of(b);
    ASSERT_EQ(Histogram::bucket_of(first), b);
    ASSERT_EQ(Histogram::bucket_of(last), b);
    ASSERT_EQ(Histogram::bucket_of(last + 1), b + 1);
    // No bucket is wider than 1/128 of what is in it.
    ASSERT_LE((last - first) * 128, first) << "bucket " << b;
    first = last + 1;
  }
}

TEST(Histogram, QuantilesAreWithinTheirPrecision) {
  std::mt19937_64 random(7);
  std::vector<uint64_t> values;
  Histogram h;
  for (int i = 0; i < 100'000; ++i) {
    const auto v = static_cast<uint64_t>(std::exp(double(random() % 10'000) / 10'000 * 22));
    values.push_back(v);
    h.add(v);
  }
  std::sort(values.begin(), values.end());
  for (double q : {0.0, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = std::max<size_t>(1, size_t(std::ceil(q * double(values.size()))));
    const uint64_t exact = values[rank - 1];
    EXPECT_GE(h.quantile(q), exact) << q;
    EXPECT_LE(double(h.quantile(q)), double(exact) * (1 + 1.0 / 128)) << q;
  }
  EXPECT_EQ(h.max(), values.back());
  EXPECT_EQ(h.quantile(1), values.back());
  EXPECT_EQ(h.count(), values.size());
}

TEST(Histogram, EmptyLongAndMerged) {
  Histogram a, b;
  EXPECT_EQ(a.quantile(0.5), 0u);
  a.add(5, 3);
  b.add(20'000'000'000);  // beyond the limit: its bucket is the last, its maximum exact
  a.merge(b);
  EXPECT_EQ(a.count(), 4u);
  EXPECT_EQ(a.quantile(0.75), 5u);
  EXPECT_EQ(a.max(), 20'000'000'000u);
  EXPECT_GE(a.quantile(1), Histogram::kLimit);
  a.clear();
  EXPECT_EQ(a.count() + a.max() + a.quantile(1), 0u);
}

TEST(Pacer, KeepsTheRateAndGivesUpWhatIsTooLate) {
  Pacer pacer;
  pacer.begin(1000, 1'000'000, 500);  // a packet every 1,000 ticks
  uint64_t skipped = 0;
  EXPECT_EQ(pacer.due(500, 64, skipped), 0u);
  EXPECT_EQ(pacer.due(1499, 64, skipped), 0u);
  EXPECT_EQ(pacer.due(1500, 64, skipped), 1u);
  EXPECT_EQ(pacer.intended(), 1500u);
  pacer.sent(1);
  EXPECT_EQ(pacer.due(3500, 64, skipped), 2u);
  EXPECT_EQ(skipped, 0u);
  EXPECT_EQ(pacer.due(500 + 1000 * 201, 64, skipped), 64u);
  EXPECT_EQ(skipped, 200 - Pacer::kBacklog);
  pacer.begin(0, 1'000'000, 0);
  EXPECT_EQ(pacer.due(0, 64, skipped), 64u);
}

using Pair = std::pair<uint32_t, uint32_t>;

std::set<Pair> pairs_of(const Population& p) {
  std::set<Pair> out;
  p.each_pair([&](uint32_t from, uint32_t to) {
    EXPECT_TRUE(out.insert({from, to}).second);
    EXPECT_FALSE(out.contains({to, from})) << "a pair twice";
    EXPECT_EQ(p.tenant_of(from), p.tenant_of(to));
  });
  return out;
}

TEST(Population, EveryoneHasAPeerWithinTheTenant) {
  for (auto pattern : {Pattern::kPairs, Pattern::kRing, Pattern::kStar}) {
    for (uint32_t agents : {2u, 4u, 10u, 64u, 100u}) {
      for (uint16_t tenants : {1, 2, 3}) {
        const Population p{agents, 7, tenants, pattern};
        if (!p.check()) continue;
        const auto pairs = pairs_of(p);
        for (uint32_t i = 0; i < agents; ++i) {
          const uint32_t peer = p.peer_of(i);
          ASSERT_NE(peer, i);
          ASSERT_LT(peer, agents);
          ASSERT_TRUE(pairs.contains({i, peer}) || pairs.contains({peer, i}));
        }
      }
    }
  }
  EXPECT_EQ((pairs_of({4, 7, 1, Pattern::kRing})),
            (std::set<Pair>{{0, 1}, {1, 2}, {2, 3}, {3, 0}}));
  EXPECT_EQ((pairs_of({4, 7, 1, Pattern::kStar})), (std::set<Pair>{{0, 1}, {2, 0}, {3, 0}}));
  EXPECT_EQ((pairs_of({4, 7, 2, Pattern::kPairs})), (std::set<Pair>{{0, 1}, {2, 3}}));
}

TEST(Population, RefusesWhatCannotBePaired) {
  EXPECT_FALSE((Population{1, 7, 1, Pattern::kRing}.check()));
  EXPECT_FALSE((Population{5, 7, 1, Pattern::kPairs}.check()));
  EXPECT_TRUE((Population{5, 7, 1, Pattern::kRing}.check()));
  EXPECT_FALSE((Population{6, 7, 4, Pattern::kPairs}.check()));
  EXPECT_EQ(agent_name(0), "g-000001");
}

}  // namespace
}  // namespace sluice::pktgen
