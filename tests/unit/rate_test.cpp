// Token buckets as GCRA (fabric/rate.h): what passes over any time is the rate and the burst.
#include "fabric/rate.h"

#include <gtest/gtest.h>

namespace sluice::fabric {
namespace {

constexpr uint64_t kHz = 2'600'000'000;

// Packets of `bytes` every `gap` ticks for `seconds`: how many conform.
uint64_t passing(const RateLimit& limit, uint64_t gap, uint32_t bytes, uint64_t seconds,
                 uint64_t start = 1) {
  Bucket bucket;
  bucket.set(limit);
  uint64_t passed = 0;
  for (uint64_t now = start; now < start + seconds * kHz; now += gap) {
    Bucket::Level before;
    if (!bucket.take(now, bytes, before)) continue;
    ++passed;
  }
  return passed;
}

TEST(Rate, WhatPassesIsRateTimesTimeAndTheBurst) {
  for (const double rate : {1.0, 1000.0, 333'333.0}) {
    const RateLimit limit = make_limit(rate, 0, 0.5, kHz);
    const auto gap = static_cast<uint64_t>(double(kHz) / rate / 3);
    EXPECT_NEAR(double(passing(limit, gap, 100, 4)), rate * 4.5 + 1, 1 + rate * 0.001) << rate;
  }
}

TEST(Rate, BytesCountTogether) {
  const RateLimit limit = make_limit(0, 1e6, 0.1, kHz);
  // Three times the rate, in packets of 1,000 and of 50 bytes.
  EXPECT_NEAR(double(passing(limit, kHz / 3000, 1000, 5)), 5100, 2);
  EXPECT_NEAR(double(passing(limit, kHz / 60'000, 50, 5)), 102'000, 110);
}

TEST(Rate, TheStricterMeasureDecides) {
  const RateLimit limit = make_limit(1000, 1e6, 0.1, kHz);
  EXPECT_NEAR(double(passing(limit, kHz / 5000, 100, 5)), 5100, 2);
  EXPECT_NEAR(double(passing(limit, kHz / 5000, 2000, 5)), 2550, 2);
}

TEST(Rate, UnderItsRateEverythingPasses) {
  const RateLimit limit = make_limit(1000, 0, 0.001, kHz);
  EXPECT_EQ(passing(limit, kHz / 999, 64, 5), 4996u);
}

TEST(Rate, NoneOfAMeasureIsNoLimitOfIt) {
  const RateLimit limit = make_limit(0, 0, 0.001, kHz);
  EXPECT_EQ(passing(limit, kHz / 100'000, 65'535, 1), 100'000u);
}

TEST(Rate, ARateIsNeverRoundedUp) {
  for (double rate = 1; rate < 1e9; rate *= 1.7) {
    const RateLimit limit = make_limit(rate, rate, 1, kHz);
    EXPECT_LE(double(kHz) / double(limit.ticks_per_packet), rate * 1.0000001);
    EXPECT_LE(65536.0 * double(kHz) / double(limit.ticks_per_byte_q16), rate * 1.0000001);
  }
}

// Ticks grow from the machine's start; a relay may run for years, and a bucket rest that long.
TEST(Rate, HoldsFarFromTheClocksStart) {
  const RateLimit limit = make_limit(1000, 0, 0.5, kHz);
  EXPECT_NEAR(double(passing(limit, kHz / 3000, 64, 2, uint64_t{1} << 62)), 2501, 2);
}

TEST(Rate, ALimitTakenAwayIsGoneAtOnce) {
  Bucket bucket;
  bucket.set(make_limit(1, 0, 1, kHz));
  Bucket::Level before;
  for (int i = 0; i < 10; ++i) bucket.take(1, 64, before);
  EXPECT_FALSE(bucket.take(1, 64, before));
  bucket.set({});
  EXPECT_TRUE(bucket.take(1, 64, before));
}

}  // namespace
}  // namespace sluice::fabric
