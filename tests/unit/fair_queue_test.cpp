// Who sends most waits longest, and loses first.
#include "control/fair_queue.h"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace sluice::control {
namespace {

ByteArray<4> source(uint32_t n) {
  ByteArray<4> b;
  store_le(b.data(), n);
  return b;
}

// A key under which none of the first 50 sources shares the bucket of source 1: what a shared
// bucket costs its sources has a test of its own.
ByteArray<16> key_without_neighbours() {
  const auto bucket = [](const ByteArray<16>& key, uint32_t n) {
    return crypto::siphash(key, source(n)) % FairQueue<int>::kBuckets;
  };
  for (uint8_t first = 0;; ++first) {
    const ByteArray<16> key{first};
    bool alone = true;
    for (uint32_t n = 2; n < 50; ++n) alone = alone && bucket(key, n) != bucket(key, 1);
    if (alone) return key;
  }
}

// Two sources that share a bucket under `key`.
std::pair<uint32_t, uint32_t> neighbours(const ByteArray<16>& key) {
  const auto bucket = [&](uint32_t n) {
    return crypto::siphash(key, source(n)) % FairQueue<int>::kBuckets;
  };
  uint32_t n = 2;
  while (bucket(n) != bucket(1)) ++n;
  return {1, n};
}

struct Item {
  uint32_t from, number;
};

TEST(FairQueue, KeepsTheOrderOfOneSource) {
  FairQueue<Item> q(100, key_without_neighbours());
  for (uint32_t i = 0; i < 50; ++i) EXPECT_FALSE(q.push(source(1), {1, i}));
  for (uint32_t i = 0; i < 50; ++i) EXPECT_EQ(q.pop()->number, i);
  EXPECT_FALSE(q.pop());
  EXPECT_TRUE(q.empty());
}

TEST(FairQueue, AFloodFromOneSourceHoldsNobodyUp) {
  FairQueue<Item> q(1024, key_without_neighbours());
  for (uint32_t i = 0; i < 900; ++i) EXPECT_FALSE(q.push(source(1), {1, i}));
  for (uint32_t s = 2; s < 12; ++s) EXPECT_FALSE(q.push(source(s), {s, 0}));
  // All ten are served within two rounds of the buckets: two of them may share one.
  unsigned others = 0;
  for (int i = 0; i < 12; ++i) others += q.pop()->from != 1;
  EXPECT_EQ(others, 10u);
}

TEST(FairQueue, FullTakesFromTheLongest) {
  FairQueue<Item> q(64, key_without_neighbours());
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

TEST(FairQueue, AFullQueueRefusesTheFloodsNeighbour) {
  const ByteArray<16> key{};
  const auto [flood, neighbour] = neighbours(key);
  FairQueue<Item> q(64, key);
  for (uint32_t i = 0; i < 64; ++i) EXPECT_FALSE(q.push(source(flood), {flood, i}));
  const auto gone = q.push(source(neighbour), {neighbour, 0});
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->from, neighbour);
  EXPECT_EQ(q.size(), 64u);
}

TEST(FairQueue, BucketsThatWereEmptiedByOthersLoseTheirTurnOnly) {
  FairQueue<Item> q(2, key_without_neighbours());
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
