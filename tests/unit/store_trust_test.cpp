// What the store keeps of trust: pairs and floors, identities that went on as others, the relay's
// keys, tokens, names, and the feed of it all.
#include <algorithm>

#include "unit/store_fixture.h"

namespace sluice::control {
namespace {

AgentRow enrolled(uint64_t n, std::string name) {
  AgentRow out = agent(n);
  out.name = std::move(name);
  out.source = AgentSource::kOperator;
  return out;
}
Digest digest(uint8_t n) {
  Digest out{};
  out.fill(n);
  return out;
}
RequestRow request(uint8_t n, uint64_t from, uint64_t to) {
  return {digest(n), identity(from), identity(to), 100u + n, 1'000'000, {n, n}};
}
// The request `n` granted by the statement `n` + 100.
std::vector<Change> granted(uint8_t n, uint64_t from, uint64_t to, uint64_t at) {
  const auto grant = static_cast<uint8_t>(n + 100);
  return {RequestEnd{digest(n), RequestState::kGranted, digest(grant), {grant}, at},
          PairRow{digest(n), digest(grant), identity(from), identity(to), 1, 3, at, 0}};
}

TEST_F(StoreTest, AnAgentIsAdmittedForATime) {
  open_store();
  AgentRow guest = enrolled(1, "guest");
  guest.expires_ms = 5000;
  ASSERT_TRUE(store_->apply_now(changes({guest, enrolled(2, "host")})));
  EXPECT_EQ(contents().agents[0].expires_ms, 5000u);
  EXPECT_EQ(contents().agents[1].expires_ms, 0u);
  ASSERT_TRUE(store_->apply_now(changes(
      {AgentUpdate{guest.identity, guest.name, guest.source, guest.visibility, {}, 9000}})));
  reopen_store();
  EXPECT_EQ(contents().agents[0].expires_ms, 9000u);
  EXPECT_EQ(contents().agents[1].expires_ms, 0u);
}

TEST_F(StoreTest, APairLivesFromItsGrantToItsEndAndLeavesAFloor) {
  open_store();
  ASSERT_TRUE(store_->apply_now(changes({enrolled(1, "a"), enrolled(2, "b")})));
  ASSERT_TRUE(store_->apply_now(changes({request(1, 1, 2), request(2, 2, 1)})));
  EXPECT_EQ(contents().requests.size(), 2u);
  EXPECT_EQ(contents().requests[0].statement, (Buffer{1, 1}));
  ASSERT_TRUE(store_->apply_now(changes(granted(1, 1, 2, 500))));
  Snapshot s = contents();
  EXPECT_EQ(s.requests.size(), 1u);
  ASSERT_EQ(s.pairs.size(), 1u);
  EXPECT_EQ(s.pairs[0].grant, digest(101));
  EXPECT_EQ(s.pairs[0].backward, 3);
  EXPECT_TRUE(s.floors.empty());
  // Another takes its place; the end of the first that comes after it ends both.
  auto replaced = granted(2, 2, 1, 600);
  replaced.insert(replaced.begin(), PairEnd{digest(1), 600, "replaced", false, {}, {}});
  ASSERT_TRUE(store_->apply_now(changes(replaced)));
  EXPECT_EQ(contents().pairs.at(0).request, digest(2));
  ASSERT_TRUE(store_->apply_now(changes({PairEnd{digest(1), 601, "over", true, digest(9), {9}}})));
  s = contents();
  EXPECT_TRUE(s.pairs.empty());
  ASSERT_EQ(s.floors.size(), 1u);
  EXPECT_EQ(s.floors[0].at_ms, 601u);
  // A floor does not go back.
  ASSERT_TRUE(store_->apply_now(changes({PairEnd{digest(2), 7, "older", true, {}, {}}})));
  EXPECT_EQ(contents().floors.at(0).at_ms, 601u);
  // What was answered once is not asked or granted anew.
  EXPECT_FALSE(store_->apply_now(changes({request(1, 1, 2)})));
  EXPECT_FALSE(store_->apply_now(changes(granted(1, 1, 2, 900))));
  EXPECT_TRUE(contents().pairs.empty());
  EXPECT_TRUE(contents().requests.empty());
}

TEST_F(StoreTest, WhoGoesOnUnderAnotherIdentityIsTheSameAgent) {
  open_store();
  const auto rotated = [](uint64_t from, uint64_t to) {
    return RotationRow{identity(from), identity(to), digest(700 + to), {7, uint8_t(to)}, 42};
  };
  ASSERT_TRUE(store_->apply_now(changes({enrolled(1, "a"), enrolled(2, "b"), enrolled(3, "c")})));
  ASSERT_TRUE(store_->apply_now(changes({request(1, 1, 2)})));
  ASSERT_TRUE(store_->apply_now(changes(granted(1, 1, 2, 500))));
  ASSERT_TRUE(store_->apply_now(changes({rotated(1, 11)})));
  ASSERT_TRUE(store_->apply_now(changes({rotated(1, 11)}))) << "done already";
  ASSERT_TRUE(store_->apply_now(changes({rotated(11, 21)})));
  // What refers to it now does so under its present identity.
  ASSERT_TRUE(store_->apply_now(changes({request(2, 21, 3)})));
  reopen_store();
  Snapshot s = contents();
  ASSERT_EQ(s.agents.size(), 3u);
  const auto is = [](uint64_t n) {
    return [n](const AgentRow& a) { return a.identity == identity(n); };
  };
  EXPECT_EQ(std::count_if(s.agents.begin(), s.agents.end(), is(21)), 1);
  EXPECT_EQ(std::count_if(s.agents.begin(), s.agents.end(), is(1)), 0);
  EXPECT_EQ(s.pairs.at(0).requester, identity(21));
  EXPECT_EQ(s.pairs.at(0).approver, identity(2));
  EXPECT_EQ(s.requests.at(0).requester, identity(21));
  ASSERT_EQ(s.rotations.size(), 2u);
  EXPECT_EQ(s.rotations[0].former, identity(1));
  EXPECT_EQ(s.rotations[0].successor, identity(11));
  EXPECT_EQ(s.rotations[1].former, identity(11));
  EXPECT_EQ(s.rotations[1].successor, identity(21));
  // Identities that are, or were, somebody's; and from one that is no longer anybody's.
  for (const auto& bad : {rotated(21, 2), rotated(21, 1), rotated(21, 11), rotated(2, 21),
                          rotated(1, 31), rotated(11, 31), rotated(99, 31)}) {
    EXPECT_FALSE(store_->apply_now(changes({bad})));
  }
  // The end of the pair leaves a floor under whoever they are now.
  ASSERT_TRUE(store_->apply_now(changes({PairEnd{digest(1), 600, "over", true, {}, {}}})));
  ASSERT_TRUE(store_->apply_now(changes({rotated(2, 12)})));
  s = contents();
  ASSERT_EQ(s.floors.size(), 1u);
  EXPECT_EQ(s.floors[0].low, std::min(identity(12), identity(21)));
  EXPECT_EQ(s.floors[0].high, std::max(identity(12), identity(21)));
  // A revocation that named an earlier identity holds for the present one, and ends it for good.
  ASSERT_TRUE(store_->apply_now(changes({RevocationRow{identity(21), "gone", 700}})));
  EXPECT_FALSE(store_->apply_now(changes({rotated(21, 31)})));
  ASSERT_TRUE(store_->apply_now(changes({RevocationRow{identity(2), "late", 701}})));
  s = contents();
  const auto revoked = [&](uint64_t n) {
    return std::any_of(s.revocations.begin(), s.revocations.end(),
                       [&](const RevocationRow& r) { return r.identity == identity(n); });
  };
  EXPECT_TRUE(revoked(21));
  EXPECT_TRUE(revoked(12));
}

TEST_F(StoreTest, TheRelaysKeysAreKeptInTheirOrder) {
  open_store();
  const RelayKeyRow first{1, identity(1), identity(100), 5, 50};
  ASSERT_TRUE(store_->apply_now(changes({first})));
  ASSERT_TRUE(store_->apply_now(changes({first}))) << "done already";
  EXPECT_FALSE(store_->apply_now(changes({RelayKeyRow{1, identity(2), identity(100), 6, 60}})));
  ASSERT_TRUE(store_->apply_now(changes({RelayKeyRetired{1, identity(100), 20}})));
  ASSERT_TRUE(store_->apply_now(changes({RelayKeyRow{2, identity(3), identity(1), 30, 90}})));
  reopen_store();
  const Snapshot s = contents();
  ASSERT_EQ(s.relay_keys.size(), 2u);
  EXPECT_EQ(s.relay_keys[0].replaced, identity(100));
  EXPECT_EQ(s.relay_keys[0].replaced_until_ms, 0u);
  EXPECT_EQ(s.relay_keys[0].told_ms, 20u);
  EXPECT_EQ(s.relay_keys[1].key, identity(3));
  EXPECT_EQ(s.relay_keys[1].replaced_until_ms, 90u);
}

TEST_F(StoreTest, ATokenIsSpentWithTheRowThatItLetIn) {
  open_store();
  TokenRow token;
  token.hash = digest(7);
  token.tenant = 7;
  token.expires_ms = 1000;
  ASSERT_TRUE(store_->apply_now(changes({token})));
  ASSERT_TRUE(store_->apply_now(changes({enrolled(1, "a"), TokenUse{digest(7), identity(1), 10}})));
  EXPECT_TRUE(contents().tokens.empty());
  ASSERT_TRUE(store_->apply_now(changes({TokenUse{digest(7), identity(1), 11}})))
      << "once for each identity";
  auto refused =
      store_->apply_now(changes({enrolled(2, "b"), TokenUse{digest(7), identity(2), 12}}));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  EXPECT_EQ(contents().agents.size(), 1u) << "a row without its token";
  token.hash = digest(8);
  ASSERT_TRUE(store_->apply_now(changes({token})));
  EXPECT_FALSE(
      store_->apply_now(changes({enrolled(2, "b"), TokenUse{digest(8), identity(2), 1000}})))
      << "expired";
  ASSERT_TRUE(store_->apply_now(changes({TokenEnd{digest(8)}})));
  EXPECT_FALSE(
      store_->apply_now(changes({enrolled(2, "b"), TokenUse{digest(8), identity(2), 20}})));
  EXPECT_TRUE(contents().tokens.empty());
}

TEST_F(StoreTest, ANameIsFreeAgainOnceItsHolderIsRevoked) {
  open_store();
  ASSERT_TRUE(store_->apply_now(changes({enrolled(1, "bob")})));
  EXPECT_FALSE(store_->apply_now(changes({enrolled(2, "bob")})));
  ASSERT_TRUE(store_->apply_now(changes({revocation(1)})));
  EXPECT_TRUE(store_->apply_now(changes({enrolled(2, "bob")})));
}

TEST_F(StoreTest, TheFeedHasEveryChangeOnceAndNoneThatFailed) {
  open_store();
  ASSERT_TRUE(store_->apply_now(changes({enrolled(1, "a"), enrolled(2, "b")})));
  EXPECT_FALSE(store_->apply_now(changes({enrolled(3, "c"), enrolled(4, "a")})));
  ASSERT_TRUE(store_->apply_now(changes({request(1, 1, 2)})));
  std::optional<Result<std::vector<FeedEntry>>> feed;
  store_->read_feed(1, 10, [&](auto r) { feed = std::move(r); });
  ASSERT_TRUE(executor_.run_until([&] { return feed.has_value(); }));
  ASSERT_TRUE(*feed);
  ASSERT_EQ((*feed)->size(), 2u);
  EXPECT_EQ((**feed)[0].sequence, 2u);
  EXPECT_EQ((**feed)[0].kind, "agent_enrolled");
  EXPECT_EQ((**feed)[1].kind, "trust_requested");
  EXPECT_EQ((**feed)[1].actor, "test");
  EXPECT_EQ((**feed)[1].object, to_buffer(identity(2)));
  std::optional<Result<Buffer>> statement;
  store_->read_statement(digest(1), [&](auto r) { statement = std::move(r); });
  ASSERT_TRUE(executor_.run_until([&] { return statement.has_value(); }));
  EXPECT_EQ(**statement, (Buffer{1, 1}));
}

}  // namespace
}  // namespace sluice::control
