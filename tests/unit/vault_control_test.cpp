// Credentials in the vault: in and out, bound, locked, changed behind its back, of age.
#include "unit/vault_fixture.h"

namespace sluice::control {
namespace {

TEST_F(VaultTest, ACredentialGoesInAndIsThereAfterAStart) {
  EXPECT_EQ(vault_->state(), VaultState::kUninitialised);
  EXPECT_EQ(set("search", "Bearer 1").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(init());
  EXPECT_EQ(init().error().code, ErrorCode::kConflict);
  const auto version = set("search", "Bearer s3cret-value", place(1));
  ASSERT_TRUE(version) << version.error().message;
  EXPECT_EQ(*version, 1u);
  EXPECT_EQ(value_at(place(1)), "Bearer s3cret-value");
  EXPECT_EQ(value_at(place(2)), "");
  EXPECT_EQ(value_at(place(1, 3)), "");
  EXPECT_FALSE(store_holds("s3cret-value"));
  EXPECT_TRUE(store_holds("search")) << "where its name is";

  restart();
  EXPECT_EQ(vault_->places(), std::vector{place(1)}) << "before it is open";
  EXPECT_EQ(int(status(place(1)).state), int(CredentialState::kUnavailable));
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "Bearer s3cret-value");
  EXPECT_EQ(status(place(1)).version, 1u);
  ASSERT_EQ(*set("search", "Bearer next"), 2u);
  EXPECT_EQ(value_at(place(1)), "Bearer next");
  EXPECT_EQ(feed(), (std::vector<std::string>{"vault_made", "vault_key_added", "credential_set",
                                              "credential_bound", "credential_set"}));
  ASSERT_TRUE(remove("search"));
  EXPECT_FALSE(vault_->is_bound(place(1)));
  restart();
  EXPECT_TRUE(vault_->credentials().empty());
}

TEST_F(VaultTest, OneCredentialForEachAgentAndProtocolOfItsOwnTenant) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("one", "1", place(1)));
  ASSERT_TRUE(set("two", "2"));
  const auto taken = bind("two", place(1));
  ASSERT_FALSE(taken);
  EXPECT_TRUE(says(taken.error(), "have the credential one: unbind that one first"))
      << taken.error().message;
  EXPECT_EQ(set("two", "3", place(1)).error().code, ErrorCode::kConflict);
  ASSERT_TRUE(bind("two", place(1, 3)));
  ASSERT_TRUE(bind("two", place(2)));
  EXPECT_EQ(value_at(place(2)), "2") << "what was refused changed nothing";
  ASSERT_TRUE(unbind(place(1)));
  EXPECT_EQ(unbind(place(1)).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(bind("two", place(1)));
  EXPECT_EQ(value_at(place(1)), "2");
  EXPECT_EQ(bind("one", {{7, 99}, kMcp}).error().code, ErrorCode::kNotFound);
  AgentRow other = row(3);
  other.tenant = 8;
  ASSERT_TRUE(enrol({other}));
  ASSERT_TRUE(trust_->enrol(other));
  const auto stranger = bind("one", {{8, 3}, kMcp});
  ASSERT_FALSE(stranger);
  EXPECT_EQ(stranger.error().code, ErrorCode::kRefused);
}

TEST_F(VaultTest, AnAnswerWaitsForTheDiskAndForTheWorkers) {
  Slots slots;
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  vault_->serve(&slots);
  EXPECT_EQ(slots.told, std::vector{place(1)}) << "what is there already";
  slots.at_once = false;
  std::optional<Result<uint32_t>> done;
  hold_log();
  vault_->set({7, "search", header("2"), {}, {}}, "test", [&](auto r) { done = r; });
  vault_->poll();
  wait_until_held();
  EXPECT_EQ(value_at(place(1)), "1") << "not durable yet";
  release_log();
  ASSERT_TRUE(run_until([&] { return !slots.waiting.empty(); }));
  EXPECT_EQ(value_at(place(1)), "2");
  executor_.run_one(20ms);
  EXPECT_FALSE(done) << "workers may still send the old one";
  slots.waiting[0]();
  ASSERT_TRUE(done);
  EXPECT_TRUE(*done);
  vault_->serve(nullptr);
}

TEST_F(VaultTest, LockedNothingOpensAndBindingsStayKnown) {
  Slots slots;
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  vault_->serve(&slots);
  slots.told.clear();
  ASSERT_TRUE(lock());
  EXPECT_EQ(slots.told, std::vector{place(1)});
  EXPECT_EQ(value_at(place(1)), "");
  EXPECT_TRUE(vault_->is_bound(place(1)));
  EXPECT_TRUE(says({{}, status(place(1)).why}, "an operator locked it")) << status(place(1)).why;
  EXPECT_EQ(set("search", "2").error().code, ErrorCode::kRefused);
  EXPECT_EQ(bind("search", place(2)).error().code, ErrorCode::kRefused);
  ASSERT_TRUE(unlock());
  EXPECT_EQ(value_at(place(1)), "1");
  ASSERT_TRUE(lock());
  ASSERT_TRUE(unbind(place(1))) << "less is always allowed";
  ASSERT_TRUE(remove("search"));
  vault_->serve(nullptr);
}

// Stopped in the middle, as a kill would: the next start finds both keys, and goes on.
TEST_F(VaultTest, RecordsThatWereChangedInTheStoreAreRefusedAlone) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("one", "1", place(1)));
  ASSERT_TRUE(set("two", "2", place(2)));
  spoil(
      "UPDATE credentials SET sealed = CAST(substr(sealed, 1, length(sealed) - 1) || x'00' AS"
      " BLOB) WHERE name = 'one'");
  EXPECT_EQ(value_at(place(1)), "");
  EXPECT_TRUE(says({{}, status(place(1)).why}, "changed in the store")) << status(place(1)).why;
  EXPECT_EQ(value_at(place(2)), "2");
  ASSERT_TRUE(set("one", "1")) << "set anew, it is sound";
  EXPECT_EQ(value_at(place(1)), "1");

  spoil(
      "CREATE TEMP TABLE before AS SELECT id, sealed FROM credentials;"
      "UPDATE credentials SET sealed ="
      " (SELECT sealed FROM before WHERE before.id <> credentials.id)");
  EXPECT_EQ(value_at(place(1)) + value_at(place(2)), "") << "swapped";
  ASSERT_TRUE(set("one", "1"));
  ASSERT_TRUE(set("two", "2"));

  spoil("UPDATE bindings SET credential = (SELECT id FROM credentials WHERE name = 'one')");
  EXPECT_EQ(value_at(place(1)), "1");
  EXPECT_EQ(value_at(place(2)), "") << "handed to another agent";
  ASSERT_TRUE(unbind(place(2)));
  ASSERT_TRUE(bind("two", place(2)));
  EXPECT_EQ(value_at(place(2)), "2");

  spoil("UPDATE bindings SET proof = zeroblob(28) WHERE target & 255 = 2");
  EXPECT_EQ(value_at(place(2)), "") << "bound by nobody";
  ASSERT_TRUE(set("two", "2", place(2))) << "bound anew with it";
  EXPECT_EQ(value_at(place(2)), "2");

  spoil("UPDATE credentials SET life = 'not_after 99999999999999', tenant = 7");
  EXPECT_EQ(value_at(place(1)) + value_at(place(2)), "") << "allowed for longer";
}

// A rotation whose answer was lost: what the store holds is what counts, and its key is beside.
// Sealed it is in the backup, and opens with what is not.
TEST_F(VaultTest, AgesAndWindowsDecide) {
  ASSERT_TRUE(init());
  const uint64_t now = clock_.unix_ms();
  const uint64_t day = 86'400'000;
  ASSERT_TRUE(set("search", "1", place(1), CredentialLife{.max_age_ms = 10 * day}));
  ASSERT_TRUE(set("later", "2", place(2), CredentialLife{.not_before_ms = now + day}));
  EXPECT_EQ(value_at(place(1)), "1");
  EXPECT_EQ(value_at(place(2)), "");
  EXPECT_EQ(int(status(place(2)).state), int(CredentialState::kOutsideWindow));
  EXPECT_EQ(status(place(2)).opens_ms, int64_t(now + day));
  const auto kinds = [&] {
    std::vector<EventKind> out;
    for (uint64_t n = events_->first(); n < events_->next(); ++n)
      out.push_back(events_->at(n).kind);
    return out;
  };
  const size_t before = kinds().size();
  clock_.advance_ms(9 * day + 1);
  vault_->poll();
  EXPECT_EQ(value_at(place(2)), "2");
  ASSERT_EQ(kinds().size(), before + 1);
  EXPECT_EQ(kinds().back(), EventKind::kCredentialAging);
  clock_.advance_ms(day);
  vault_->poll();
  EXPECT_EQ(kinds().back(), EventKind::kCredentialTooOld);
  EXPECT_EQ(value_at(place(1)), "");
  EXPECT_EQ(int(status(place(1)).state), int(CredentialState::kUnavailable));
  // The limits stay with the next version, which is young.
  ASSERT_EQ(*set("search", "3"), 2u);
  EXPECT_EQ(value_at(place(1)), "3");
  clock_.advance_ms(10 * day);
  EXPECT_EQ(value_at(place(1)), "");
  // Set back: windows are closed again.
  clock_.set_wall_forward_ms(-30 * int64_t(day));
  EXPECT_EQ(value_at(place(2)), "");
}

TEST_F(VaultTest, ARevokedAgentsBindingsGo) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  ASSERT_TRUE(bind("search", place(2)));
  trust_->mark_revoked(*trust_->by_address({7, 1}), "stolen", 1);
  clock_.advance_ms(2000);
  ASSERT_TRUE(run_until([&] { return !vault_->is_bound(place(1)); }));
  EXPECT_TRUE(vault_->is_bound(place(2)));
  EXPECT_EQ(feed().back(), "credential_unbound");
  EXPECT_NE(vault_->by_name(7, "search"), nullptr);
  EXPECT_EQ(bind("search", place(1)).error().code, ErrorCode::kNotFound);
  restart();
  EXPECT_EQ(vault_->places(), std::vector{place(2)});
}

// What failed may be on disk all the same; what is there after a reread is what holds.
TEST_F(VaultTest, AWriteThatFailedIsNotInForceAndAReadTakesUpWhatIsThere) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  fail_syncs(10, 10);
  const auto failed = set("search", "2");
  EXPECT_FALSE(failed);
  fail_syncs(0, 0);
  ASSERT_TRUE(set("other", "3"));  // the store is open again
  vault_->reconcile(contents());
  const Snapshot there = contents();
  for (const auto& row : there.vault.credentials) {
    EXPECT_EQ(vault_->credentials().at(row.id).version, row.version);
  }
  EXPECT_EQ(value_at(place(1)), there.vault.credentials[1].version == 2 ? "2" : "1");
}

}  // namespace
}  // namespace sluice::control
