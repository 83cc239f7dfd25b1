// Keys of the vault: where they come from, how they are replaced, what a cut in the middle leaves.
#include "unit/vault_fixture.h"

namespace sluice::control {
namespace {

TEST_F(VaultTest, APassphraseIsAskedForAfterEachStart) {
  options_.source = vault::KeySource::kPassphrase;
  start();
  EXPECT_EQ(init().error().code, ErrorCode::kUsage);
  ASSERT_TRUE(init("correct horse battery"));
  ASSERT_TRUE(set("search", "1", place(1)));
  restart();
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  EXPECT_EQ(unlock("something else").error().code, ErrorCode::kRefused);
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  ASSERT_TRUE(unlock("correct horse battery"));
  EXPECT_EQ(value_at(place(1)), "1");
}

TEST_F(VaultTest, AMissingOrWrongKeyFileLosesNothing) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  fs::rename(options_.key_file, root_ + "/away");
  restart();
  ASSERT_TRUE(run_until([&] { return !vault_->unlocking(); }));
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  EXPECT_TRUE(says({{}, vault_->why_locked()}, "put its file back")) << vault_->why_locked();
  std::ofstream(options_.key_file) << std::string(32, 'x');
  chmod(options_.key_file.c_str(), 0600);
  EXPECT_EQ(unlock().error().code, ErrorCode::kKeyFile);
  fs::rename(root_ + "/away", options_.key_file);
  ASSERT_TRUE(unlock());
  EXPECT_EQ(value_at(place(1)), "1");
}

TEST_F(VaultTest, DataKeysAreReplacedWhileItIsUsed) {
  ASSERT_TRUE(init());
  Slots slots;
  for (int i = 0; i < 100; ++i) {
    const auto n = std::to_string(i);
    ASSERT_TRUE(set("c" + n, n, i < 2 ? std::optional(place(uint32_t(i + 1))) : std::nullopt));
  }
  vault_->serve(&slots);
  slots.told.clear();
  const auto r = rotate();
  ASSERT_TRUE(r) << r.error().message;
  EXPECT_EQ(r->key, 2u);
  EXPECT_EQ(r->records, 100u);
  EXPECT_TRUE(slots.told.empty()) << "what calls get is what they got";
  EXPECT_EQ(vault_->data_keys().size(), 1u);
  restart();
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "0");
  EXPECT_EQ(value_at(place(2)), "1");
  EXPECT_EQ(vault_->data_keys().begin()->first, 2u);
  for (const auto& [id, credential] : vault_->credentials()) {
    EXPECT_EQ(credential.key, 2u);
    EXPECT_EQ(credential.version, 1u);
    EXPECT_FALSE(vault_->is_damaged(id));
  }
}

TEST_F(VaultTest, ARotationThatWasCutOffGoesOn) {
  ASSERT_TRUE(init());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(set("c" + std::to_string(i), "x"));
  vault_->rotate("test", [](const auto&) { FAIL() << "answered"; });
  ASSERT_TRUE(run_until([&] {
    return std::any_of(vault_->credentials().begin(), vault_->credentials().end(),
                       [](const auto& c) { return c.second.key == 2; });
  }));
  restart();
  ASSERT_TRUE(unlocks());
  ASSERT_TRUE(run_until([&] { return vault_->data_keys().size() == 1; }));
  for (const auto& [id, credential] : vault_->credentials()) EXPECT_EQ(credential.key, 2u);
  ASSERT_TRUE(bind("c99", place(1)));
  EXPECT_EQ(value_at(place(1)), "x");
}

TEST_F(VaultTest, AnotherMasterKeyAlsoFromElsewhere) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  fs::copy(options_.key_file, root_ + "/old");
  ASSERT_TRUE(rotate_master());
  EXPECT_EQ(vault_->master().number, 2u);
  EXPECT_EQ(value_at(place(1)), "1");
  restart();
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "1");
  // The old one opens nothing any more.
  ASSERT_TRUE(lock());
  fs::rename(options_.key_file, root_ + "/new");
  fs::copy(root_ + "/old", options_.key_file);
  EXPECT_EQ(unlock().error().code, ErrorCode::kKeyFile);
  fs::rename(root_ + "/new", options_.key_file);
  ASSERT_TRUE(unlock());
  // A configuration that says passphrase now.
  options_.source = vault::KeySource::kPassphrase;
  restart();
  ASSERT_TRUE(unlocks()) << "it opens as it was made";
  EXPECT_EQ(rotate_master().error().code, ErrorCode::kUsage);
  ASSERT_TRUE(rotate_master("correct horse battery"));
  restart();
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  ASSERT_TRUE(unlock("correct horse battery"));
  EXPECT_EQ(value_at(place(1)), "1");
}

TEST_F(VaultTest, AMasterKeyThatTheStoreKnowsAfterAllIsTakenUp) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "1", place(1)));
  const Snapshot before = contents();
  ASSERT_TRUE(rotate_master());
  const Snapshot after = contents();
  fs::rename(options_.key_file, options_.key_file + ".next");
  vault_->reconcile(before);
  ASSERT_TRUE(run_until([&] { return !vault_->unlocking(); }));
  EXPECT_EQ(vault_->state(), VaultState::kLocked) << "that key is gone";
  vault_->reconcile(after);
  ASSERT_TRUE(unlocks());
  EXPECT_EQ(value_at(place(1)), "1");
  EXPECT_EQ(vault_->master().number, 2u);
  EXPECT_FALSE(fs::exists(options_.key_file + ".next"));
}

TEST_F(VaultTest, WithoutItsDataKeysItStaysLocked) {
  ASSERT_TRUE(init());
  vault_.reset();
  store_.reset();
  executor_.forget();
  raw(db_, "DELETE FROM vault_keys");
  open_store();
  start();
  ASSERT_TRUE(run_until([&] { return !vault_->unlocking(); }));
  EXPECT_EQ(vault_->state(), VaultState::kLocked);
  EXPECT_TRUE(says({{}, vault_->why_locked()}, "data keys are gone")) << vault_->why_locked();
}

TEST_F(VaultTest, ABackupOpensWithTheSameKeyFile) {
  ASSERT_TRUE(init());
  ASSERT_TRUE(set("search", "s3cret-value", place(1)));
  const auto copied =
      answer<Store::BackupDone>([&](auto done) { store_->backup(root_ + "/copy.db", done); });
  ASSERT_TRUE(copied) << copied.error().message;
  EXPECT_FALSE(store_holds("s3cret-value"));
  vault_.reset();
  store_.reset();
  executor_.forget();
  const auto restored =
      restore_store(root_ + "/copy.db", root_ + "/other", root_ + "/other/audit", false);
  ASSERT_TRUE(restored) << restored.error().message;
  dir_ = root_ + "/other";
  open_store();
  start();
  ASSERT_TRUE(unlocks()) << vault_->why_locked();
  EXPECT_EQ(value_at(place(1)), "s3cret-value");
  ASSERT_EQ(*set("search", "2"), 2u);
}

}  // namespace
}  // namespace sluice::control
