#include "control/trust_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using namespace sluice;
using fabric::EdgeState;

struct Table : ::testing::Test {
  Clock clock{1'000'000'000};
  std::unique_ptr<fabric::Arena> arena = std::move(*fabric::Arena::create(
      {.agents = 8, .edges = 32, .sessions = 2, .tenants = 4}, fabric::PageKind::kSmall));
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
  for (const control::EdgeEntry& e : before) {
    const uint32_t slot = e.slot;
    const bool hubs = e.from == hub || e.to == hub;
    EXPECT_EQ(edge(slot), hubs ? EdgeState::kRevoked : EdgeState::kOpen) << e.from << "->" << e.to;
    EXPECT_EQ(table.edges().contains(slot), !hubs);
  }
  EXPECT_TRUE(table.edges_of(hub).empty());
  ASSERT_EQ(table.edges_of(index("a")).size(), 1u);
  EXPECT_EQ(table.edges_of(index("a"))[0].to, index("c"));
  EXPECT_TRUE(table.close_edges(table.agent(hub)).empty()) << "a second time there is nothing";
}

// --- Agents that no configuration names ---------------------------------------------------------

control::AgentRow row(uint8_t seed, uint16_t tenant, const std::string& name,
                      control::AgentSource source) {
  control::AgentRow r;
  r.identity[0] = seed;
  r.tenant = tenant;
  r.node = seed;
  r.name = name;
  r.source = source;
  return r;
}

// Whatever their bytes: the last one's time is what the next change is measured by.
TEST_F(Table, FormerIdentitiesAreInTheirOrderAfterAStart) {
  const uint8_t orders[][4] = {{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, 1, 3}, {3, 1, 4, 2}};
  control::Snapshot stored;
  const auto identity = [](uint16_t tenant, uint8_t n) {
    crypto::PublicKey out{};
    out[0] = n;
    out[1] = uint8_t(tenant);
    return out;
  };
  for (uint16_t tenant = 1; tenant <= 4; ++tenant) {
    const auto& order = orders[tenant - 1];
    control::AgentRow agent = row(uint8_t(tenant), tenant, "agent", control::AgentSource::kToken);
    agent.identity = identity(tenant, order[3]);
    stored.agents.push_back(agent);
  }
  for (int step = 0; step < 3; ++step) {
    for (uint16_t tenant = 1; tenant <= 4; ++tenant) {
      const auto& order = orders[tenant - 1];
      stored.rotations.push_back({identity(tenant, order[step]),
                                  identity(tenant, order[step + 1]),
                                  {},
                                  {},
                                  uint64_t(step + 1)});
    }
  }
  table.restore(stored);
  for (uint16_t tenant = 1; tenant <= 4; ++tenant) {
    const auto& order = orders[tenant - 1];
    const control::AgentEntry* entry = table.by_identity(identity(tenant, order[3]));
    ASSERT_NE(entry, nullptr);
    ASSERT_EQ(entry->formers.size(), 3u);
    for (int step = 0; step < 3; ++step) {
      EXPECT_EQ(entry->formers[step].identity, identity(tenant, order[step])) << tenant;
      EXPECT_EQ(entry->formers[step].at_ms, uint64_t(step + 1)) << tenant;
    }
  }
}

TEST_F(Table, ANameOfSeveralTenantsHasToBeToldApart) {
  const auto kOperator = control::AgentSource::kOperator;
  ASSERT_TRUE(table.enrol(row(1, 1, "bob", kOperator)));
  Error why;
  ASSERT_NE(table.resolve("bob", &why), nullptr);
  ASSERT_TRUE(table.enrol(row(2, 2, "bob", kOperator)));
  EXPECT_EQ(table.resolve("bob", &why), nullptr);
  EXPECT_EQ(why.code, ErrorCode::kConflict);
  EXPECT_NE(why.message.find(to_string(VirtualAddress{2, 2})), std::string::npos);
  EXPECT_EQ(table.resolve(to_string(VirtualAddress{2, 2}))->index, 1u);
  // Who is revoked does not stand in the way of who is not.
  table.mark_revoked(table.agent(0), "gone", 1);
  ASSERT_NE(table.resolve("bob", &why), nullptr);
  EXPECT_EQ(table.resolve("bob")->index, 1u);
  EXPECT_EQ(table.by_name(1, "bob"), nullptr);
  EXPECT_EQ(table.resolve("eve", &why), nullptr);
  EXPECT_EQ(why.code, ErrorCode::kNotFound);
}

TEST_F(Table, OfOtherTenantsNothingIsTold) {
  const auto kOperator = control::AgentSource::kOperator;
  ASSERT_TRUE(table.enrol(row(1, 1, "bob", kOperator)));
  ASSERT_TRUE(table.enrol(row(2, 2, "bob", kOperator)));
  ASSERT_TRUE(table.enrol(row(3, 2, "eve", kOperator)));
  Error why;
  ASSERT_NE(table.resolve("bob", &why, 1), nullptr) << why.message;
  EXPECT_EQ(table.resolve("bob", &why, 1)->index, 0u);
  for (const std::string& who : {std::string("eve"), to_string(VirtualAddress{2, 3}),
                                 crypto::to_did(table.agent(2).identity)}) {
    EXPECT_EQ(table.resolve(who, &why, 1), nullptr) << who;
    EXPECT_EQ(why.code, ErrorCode::kNotFound);
  }
}

TEST_F(Table, ARowThatNothingStandsOnTakesNoName) {
  control::Snapshot snapshot;
  snapshot.agents = {row(1, 1, "bob", control::AgentSource::kToken),
                     row(2, 1, "bob", control::AgentSource::kConfig)};
  table.restore(snapshot);
  ASSERT_NE(table.by_name(1, "bob"), nullptr);
  EXPECT_EQ(table.by_name(1, "bob")->index, 0u);
}

TEST_F(Table, TheOperatorsNameWinsOverATokensAndNotOverItsOwn) {
  ASSERT_TRUE(table.enrol(row(100, 0, "a", control::AgentSource::kToken)));
  agent("a");
  ASSERT_TRUE(table.apply(config));
  EXPECT_EQ(table.by_name(0, "a")->identity[0], 1);
  EXPECT_EQ(table.agent(0).name, "a-00000064") << "the one that chose it itself gave way";
  ASSERT_TRUE(table.enrol(row(101, 0, "b", control::AgentSource::kOperator)));
  agent("b");
  const auto change = table.apply(config);
  ASSERT_FALSE(change);
  EXPECT_EQ(change.error().code, ErrorCode::kConfig);
}

TEST_F(Table, AnAgentBelongsToItsTenantsRateWhenItIsKnownBeforeIt) {
  control::Snapshot snapshot;
  snapshot.agents = {row(1, 5, "bob", control::AgentSource::kToken)};
  table.restore(snapshot);
  config.tenants.push_back({.line = 0, .id = 5, .rate = {.packets_per_s = 100}});
  ASSERT_TRUE(table.apply(config));
  const auto slot = arena->agents()[0].tenant_slot.load();
  EXPECT_EQ(slot, table.rates().slot_of(5));
  EXPECT_NE(slot, table.rates().slot_of(6));
}

TEST_F(Table, APolicyFollowsAnAgentsName) {
  const auto kToken = control::AgentSource::kToken;
  ASSERT_TRUE(table.enrol(row(1, 1, "a", kToken)));
  ASSERT_TRUE(table.enrol(row(2, 1, "b", kToken)));
  control::Policy policy;
  policy.rules.push_back(
      {{}, {.did = {}, .name = "x*", .role = {}, .tenant = {}}, control::PolicyAction::kDeny, {}});
  table.set_policy(policy);
  const auto decision = [&] {
    return table.policy().decide(table.agent(0), &table.agent(1)).action;
  };
  EXPECT_EQ(decision(), control::PolicyAction::kAsk);
  // What was agreed under the old name too, and a longest life.
  control::Agreement agreement;
  agreement.request[0] = 1;
  agreement.grant[0] = 2;
  agreement.requester = 0;
  agreement.approver = 1;
  agreement.made_ms = clock.unix_ms();
  ASSERT_TRUE(table.agree(agreement));
  EXPECT_EQ(table.edges().size(), 2u);
  ASSERT_TRUE(table.enrol(row(2, 1, "xb", kToken)));
  EXPECT_EQ(decision(), control::PolicyAction::kDeny);
  EXPECT_TRUE(table.edges().empty());
  EXPECT_EQ(table.open_waiting(), (std::vector<control::PairKey>{{0, 1}}));
  EXPECT_EQ(table.agreement_count(), 1u);
  policy.rules[0].action = control::PolicyAction::kAsk;
  policy.rules[0].bounds.longest_ms = 1000;
  EXPECT_EQ(table.set_policy(policy).size(), 1u);
  EXPECT_EQ(table.agreement({0, 1})->ends_ms, agreement.made_ms + 1000);
  EXPECT_EQ(table.expired(agreement.made_ms + 1000, 9).size(), 1u);
  ASSERT_TRUE(table.enrol(row(2, 1, "b", kToken)));
  EXPECT_EQ(table.agreement({0, 1})->ends_ms, 0u);
  EXPECT_TRUE(table.expired(agreement.made_ms + 10'000, 9).empty());
  EXPECT_EQ(table.edges().size(), 2u);
}

}  // namespace
