// What one tenant can take of what others need: its limit over the workers, sets of scopes, places
// for limits of calls.
#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "control/edge_limits.h"
#include "control/scope_sets.h"
#include "control/tenant_rates.h"

namespace {

using namespace sluice;

// --- Calls a second, over the workers -----------------------------------------------------------

struct TenantCalls : ::testing::Test {
  static constexpr uint32_t kWorkers = 4;
  static constexpr uint16_t kTenant = 7, kOther = 9;
  static constexpr uint32_t kRate = 400;

  Clock clock{1'000'000'000};
  std::unique_ptr<fabric::Arena> arena = std::move(*fabric::Arena::create(
      {.agents = 8, .edges = 8, .sessions = 2, .workers = kWorkers, .tenants = 4},
      fabric::PageKind::kSmall));
  control::TenantRates rates{*arena, clock};

  TenantCalls() {
    EXPECT_TRUE(rates.apply({{0, kTenant, {.packets_per_s = 1000, .calls_per_s = kRate}},
                             {0, kOther, {.calls_per_s = kRate}}}));
    rates.poll();
  }
  fabric::TenantShare& share(uint32_t worker, uint16_t tenant = kTenant) {
    return arena->tenant_share(worker, rates.slot_of(tenant));
  }
  // What each worker lets through at one instant: a second's worth of its part.
  std::array<unsigned, kWorkers> at_once(uint16_t tenant = kTenant) {
    std::array<unsigned, kWorkers> out{};
    for (uint32_t w = 0; w < kWorkers; ++w) {
      share(w, tenant).calls.reset();
      uint64_t before = 0, wait = 0;
      while (out[w] < 10'000 && share(w, tenant).calls.take(clock.hz(), clock.hz(), before, wait)) {
        ++out[w];
      }
    }
    EXPECT_LE(std::accumulate(out.begin(), out.end(), 0u), kRate) << "more than the whole";
    return out;
  }
  void divide(unsigned times = 1) {
    for (unsigned i = 0; i < times; ++i) {
      clock.advance_ms(51);
      rates.poll();
    }
  }
};

TEST_F(TenantCalls, AreDividedByWhereTheyAreOffered) {
  EXPECT_EQ(at_once(), (std::array<unsigned, 4>{100, 100, 100, 100})) << "equally, at first";
  share(0).offered_calls.add(300);
  rates.poll();
  EXPECT_EQ(at_once()[0], 100u) << "not at each call";
  divide();
  // A quarter of an equal part is kept for each, so that the first call elsewhere does not die.
  const auto parts = at_once();
  EXPECT_NEAR(parts[0], 0.8125 * kRate, 1);
  for (const uint32_t w : {1, 2, 3}) EXPECT_NEAR(parts[w], 0.0625 * kRate, 1);
  share(1).offered_calls.add(300);
  share(3).offered_calls.add(600);
  divide();
  const auto later = at_once();
  EXPECT_NEAR(later[0], (0.0625 + 0.75 * 294 / 1194) * kRate, 1);
  EXPECT_NEAR(later[1], (0.0625 + 0.75 * 300 / 1194) * kRate, 1);
  EXPECT_NEAR(later[2], 0.0625 * kRate, 1);
  EXPECT_NEAR(later[3], (0.0625 + 0.75 * 600 / 1194) * kRate, 1);
}

// Calls are few: where the last ones came tells where the next one will, until others tell better.
TEST_F(TenantCalls, AreRememberedForSeconds) {
  share(0).offered_calls.add(300);
  divide();
  divide(33);  // 1.7 s
  EXPECT_NEAR(at_once()[0], 0.8125 * kRate, 1) << "nobody else has called";
  share(1).offered_calls.add(151);  // what is left of 300
  divide();
  EXPECT_NEAR(at_once()[0], 0.4375 * kRate, 4);
  EXPECT_NEAR(at_once()[1], 0.4375 * kRate, 4);
}

TEST_F(TenantCalls, AreDividedApartFromPacketsAndFromOtherTenants) {
  const auto packets = [&](uint32_t w) {
    return double(clock.hz()) / double(share(w).bucket.limit().ticks_per_packet);
  };
  share(2).offered_packets.add(1'000'000);
  share(1, kOther).offered_calls.add(1'000'000);
  divide();
  EXPECT_EQ(at_once(), (std::array<unsigned, 4>{100, 100, 100, 100}));
  EXPECT_NEAR(packets(2), 812.5, 1);
  EXPECT_NEAR(packets(0), 62.5, 1);
  EXPECT_NEAR(at_once(kOther)[1], 0.8125 * kRate, 1);
  share(0).offered_calls.add(10);
  divide();
  EXPECT_NEAR(packets(0), 250, 1) << "no packet since: equal parts";
  EXPECT_NEAR(at_once()[0], 0.8125 * kRate, 1);
}

TEST_F(TenantCalls, WithoutALimitAnyNumberPasses) {
  const uint32_t slot = rates.slot_of(kTenant);
  ASSERT_TRUE(rates.apply({{0, kOther, {.calls_per_s = kRate}}}));
  EXPECT_EQ(rates.slot_of(kTenant), fabric::kNone);
  uint64_t before = 0, wait = 0;
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(arena->tenant_share(0, slot).calls.take(1, clock.hz(), before, wait));
  }
  EXPECT_EQ(at_once(kOther)[0], 100u) << "and the other has what it had";
}

// --- Sets of scopes -----------------------------------------------------------------------------

struct TenantScopes : ::testing::Test {
  Clock clock{1'000'000'000};
  std::unique_ptr<fabric::Arena> arena = std::move(*fabric::Arena::create(
      {.agents = 8, .edges = 8, .sessions = 2, .scope_sets = 8}, fabric::PageKind::kSmall));
  control::ScopeSets sets{*arena, clock};
  uint64_t next = 1;

  std::vector<uint64_t> fresh() { return {next++}; }
};

TEST_F(TenantScopes, OfOneTenantTakeHalfOfThePlacesAtMost) {
  const auto first = fresh();
  ASSERT_NE(sets.hold(1, first), fabric::kNoScope);
  for (int i = 0; i < 2; ++i) sets.hold(1, fresh());
  EXPECT_TRUE(sets.has_room(1, fresh(), {}));
  EXPECT_FALSE(sets.has_room(1, fresh(), fresh())) << "one would be the fifth";
  sets.hold(1, fresh());
  EXPECT_FALSE(sets.has_room(1, fresh(), {}));
  EXPECT_TRUE(sets.has_room(1, first, {})) << "which is there already";
  EXPECT_TRUE(sets.has_room(1, {}, {}));
  EXPECT_TRUE(sets.has_room(2, fresh(), fresh()));
  EXPECT_TRUE(sets.has_room(2, first, fresh()));
  for (int i = 0; i < 4; ++i) ASSERT_NE(sets.hold(2, fresh()), fabric::kNoScope);
  EXPECT_FALSE(sets.has_room(3, fresh(), {})) << "none is left";
  EXPECT_EQ(sets.hold(3, fresh()), fabric::kNoScope) << "and then nothing is granted";
  EXPECT_EQ(sets.full(), 1u);
}

// A place that rests is its tenant's still; once it has rested it is nobody's.
TEST_F(TenantScopes, AreTheTenantsAgainOnceTheyHaveRested) {
  std::vector<uint32_t> held;
  for (int i = 0; i < 4; ++i) held.push_back(sets.hold(1, fresh()));
  for (const uint32_t number : held) sets.release(number);
  EXPECT_FALSE(sets.has_room(1, fresh(), {}));
  clock.advance_ms(fabric::kEdgeRestMs + 1);
  EXPECT_TRUE(sets.has_room(1, fresh(), fresh()));
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(sets.has_room(1, fresh(), {})) << i;
    ASSERT_NE(sets.hold(1, fresh()), fabric::kNoScope);
  }
  EXPECT_FALSE(sets.has_room(1, fresh(), {})) << "half, as before";
  for (int i = 0; i < 4; ++i) ASSERT_NE(sets.hold(2, fresh()), fabric::kNoScope) << i;
}

// --- Limits of calls ----------------------------------------------------------------------------

struct LimitedEdges : ::testing::Test {
  Clock clock{1'000'000'000};
  std::unique_ptr<fabric::Arena> arena = std::move(*fabric::Arena::create(
      {.agents = 64, .edges = 64, .sessions = 2, .edge_calls = 8}, fabric::PageKind::kSmall));
  control::EdgeLimits limits{*arena, clock};
  uint32_t next = 1;

  control::EdgeEntry open(const control::EdgeTerms& terms) {
    const uint32_t slot = next++;
    const control::EdgeEntry edge{slot, slot, slot + 1, terms, slot, 0, 0};
    limits.open(edge);
    return edge;
  }
  static control::EdgeTerms granted() {
    control::EdgeTerms out;
    out.granted = {5, 3600};
    return out;
  }
  static control::EdgeTerms operators() {
    control::EdgeTerms out;
    out.rate.calls_per_s = 10;
    return out;
  }
};

TEST_F(LimitedEdges, ThatAgentsGrantEachOtherTakeHalfOfThePlacesAtMost) {
  std::vector<control::EdgeEntry> edges;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(limits.has_room_for_grants(), i < 3) << "a pair takes two";
    edges.push_back(open(granted()));
  }
  EXPECT_FALSE(limits.has_room_for_grants());
  EXPECT_TRUE(limits.has_room(operators(), operators())) << "the operator's half";
  open({});
  EXPECT_EQ(arena->edges()[next - 1].calls, fabric::kNone) << "without limits it takes none";
  for (int i = 0; i < 4; ++i) {
    open(operators());
    EXPECT_NE(arena->edges()[next - 1].calls, fabric::kNone);
  }
  EXPECT_FALSE(limits.has_room(operators(), {})) << "and then no edge opens without its limits";
  EXPECT_TRUE(limits.has_room({}, {}));
}

TEST_F(LimitedEdges, AreFreeForGrantsAgainOnceTheyHaveRested) {
  std::vector<control::EdgeEntry> edges;
  for (int i = 0; i < 4; ++i) edges.push_back(open(granted()));
  for (const control::EdgeEntry& e : edges) limits.close(e);
  EXPECT_FALSE(limits.has_room_for_grants());
  clock.advance_ms(fabric::kEdgeRestMs + 1);
  EXPECT_TRUE(limits.has_room_for_grants());
  for (int i = 0; i < 4; ++i) open(granted());
  EXPECT_FALSE(limits.has_room_for_grants()) << "half, as before";
  EXPECT_TRUE(limits.has_room(operators(), operators()));
}

}  // namespace
