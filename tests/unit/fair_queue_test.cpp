// Who sends most waits longest, and loses first.
#include "control/fair_queue.h"

#include <gtest/gtest.h>

#include <map>

namespace sluice::control {
namespace {

ByteArray<4> source(uint32_t n) {
  ByteArray<4> b;
  store_le(b.data(), n);
  return b;
}

struct Item {
  uint32_t from, number;
};

TEST(FairQueue, KeepsTheOrderOfOneSource) {
  FairQueue<Item> q(100);
  for (uint32_t i = 0; i < 50; ++i) EXPECT_FALSE(q.push(source(1), {1, i}));
  for (uint32_t i = 0; i < 50; ++i) EXPECT_EQ(q.pop()->number, i);
  EXPECT_FALSE(q.pop());
  EXPECT_TRUE(q.empty());
}

TEST(FairQueue, AFloodFromOneSourceHoldsNobodyUp) {
  FairQueue<Item> q(1024);
  for (uint32_t i = 0; i < 900; ++i) EXPECT_FALSE(q.push(source(1), {1, i}));
  for (uint32_t s = 2; s < 12; ++s) EXPECT_FALSE(q.push(source(s), {s, 0}));
  // Ten others are served within a round of the buckets, but for a source that shares the flood's.
  unsigned others = 0;
  for (int i = 0; i < 11; ++i) others += q.pop()->from != 1;
  EXPECT_GE(others, 8u);
}

TEST(FairQueue, FullTakesFromTheLongest) {
  FairQueue<Item> q(64);
  uint32_t lost_by_flood = 0;
  std::map<uint32_t, unsigned> taken;
  for (uint32_t i = 0; i < 1000; ++i) {
    if (const auto gone = q.push(source(1), {1, i})) {
      EXPECT_EQ(gone->from, 1u);
      ++lost_by_flood;
    }
  }
  EXPECT_EQ(lost_by_flood, 1000u - 64);
  for (uint32_t s = 2; s < 12; ++s) {
    const auto gone = q.push(source(s), {s, 0});
    ASSERT_TRUE(gone);
    EXPECT_EQ(gone->from, 1u);
  }
  EXPECT_EQ(q.size(), 64u);
  while (const auto item = q.pop()) ++taken[item->from];
  for (uint32_t s = 2; s < 12; ++s) EXPECT_EQ(taken[s], 1u);
  EXPECT_EQ(taken[1], 54u);
}

TEST(FairQueue, BucketsThatWereEmptiedByOthersLoseTheirTurnOnly) {
  FairQueue<Item> q(2);
  EXPECT_FALSE(q.push(source(1), {1, 0}));
  EXPECT_FALSE(q.push(source(1), {1, 1}));
  for (uint32_t s = 2; s < 40; ++s) (void)q.push(source(s), {s, 0});
  EXPECT_EQ(q.size(), 2u);
  EXPECT_TRUE(q.pop());
  EXPECT_TRUE(q.pop());
  EXPECT_FALSE(q.pop());
  EXPECT_FALSE(q.push(source(1), {1, 2}));
  EXPECT_EQ(q.pop()->number, 2u);
}

}  // namespace
}  // namespace sluice::control
