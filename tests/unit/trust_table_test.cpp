#include "control/trust_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace sluice;
using fabric::EdgeState;

struct Table : ::testing::Test {
  Clock clock{1'000'000'000};
  std::unique_ptr<fabric::Arena> arena = std::move(
      *fabric::Arena::create({.agents = 8, .edges = 32, .sessions = 2}, fabric::PageKind::kSmall));
  control::TrustTable table{*arena, clock};
  control::TrustConfig config;

  void agent(const std::string& name) {
    control::TrustAgent a;
    a.name = name;
    a.identity[0] = static_cast<uint8_t>(config.agents.size() + 1);
    config.agents.push_back(a);
  }
  void pair(const std::string& from, const std::string& to) {
    control::TrustPair p;
    p.from = from;
    p.to = to;
    config.pairs.push_back(p);
  }
  uint32_t index(const std::string& name) { return table.resolve(name)->index; }
  EdgeState edge(uint32_t slot) { return arena->edges()[slot].state(); }
};

TEST_F(Table, ClosingAnAgentsEdgesClosesBothWaysAndNobodyElses) {
  for (const char* name : {"a", "hub", "b", "c"}) agent(name);
  pair("hub", "a");
  pair("b", "hub");
  pair("hub", "c");
  pair("a", "c");
  ASSERT_TRUE(table.apply(config));
  const auto before = table.edges();
  ASSERT_EQ(before.size(), 8u);
  const uint32_t hub = index("hub");

  auto peers = table.close_edges(table.agent(hub));
  std::sort(peers.begin(), peers.end());
  EXPECT_EQ(peers, (std::vector{index("a"), index("b"), index("c")}));
  for (const auto& [slot, e] : before) {
    const bool hubs = e.from == hub || e.to == hub;
    EXPECT_EQ(edge(slot), hubs ? EdgeState::kRevoked : EdgeState::kOpen) << e.from << "->" << e.to;
    EXPECT_EQ(table.edges().contains(slot), !hubs);
  }
  EXPECT_TRUE(table.edges_of(hub).empty());
  ASSERT_EQ(table.edges_of(index("a")).size(), 1u);
  EXPECT_EQ(table.edges_of(index("a"))[0].to, index("c"));
  EXPECT_TRUE(table.close_edges(table.agent(hub)).empty()) << "a second time there is nothing";
}

}  // namespace
