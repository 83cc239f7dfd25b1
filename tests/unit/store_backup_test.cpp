// Backups of a store in use, and what a restore refuses to forget.
#include <future>

#include "control/store_restore.h"
#include "unit/store_fixture.h"

namespace sluice::control {
namespace {

Result<RestoreReport> restore(const std::string& backup, const std::string& directory,
                              bool forget) {
  return restore_store(backup, directory, directory + "/audit", forget);
}

class StoreBackup : public StoreTest {
 protected:
  Result<Store::BackupDone> backup() {
    std::optional<Result<Store::BackupDone>> done;
    store_->backup(copy_, [&](Result<Store::BackupDone> r) { done = std::move(r); });
    if (!executor_.run_until([&] { return done.has_value(); })) {
      return fail(ErrorCode::kTimeout, "no answer");
    }
    return *done;
  }
  void SetUp() override {
    StoreTest::SetUp();
    copy_ = root_ + "/copy.db";
  }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(root_)) {
      if (e.path() != dir_) out.push_back(e.path().filename());
    }
    return out;
  }

  std::string copy_;
};

TEST_F(StoreBackup, HoldsWhatWasThereAndOverwritesNothing) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2)}));
  ASSERT_TRUE(revoke({revocation(2)}));
  const auto done = backup();
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->last_change, 3u);
  EXPECT_EQ(done->bytes, fs::file_size(copy_));
  EXPECT_EQ(mode_of(copy_), 0600u);
  EXPECT_EQ(files(), std::vector<std::string>{"copy.db"}) << "nothing else is left";
  const auto again = backup();
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(says(again.error(), "overwrites nothing"));

  store_.reset();
  const std::string other = root_ + "/other";
  const auto restored = restore(copy_, other, false);
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(restored->changes, 3u);
  EXPECT_EQ(restored->agents, 2u);
  EXPECT_EQ(restored->revoked, 1u);
  EXPECT_EQ(restored->replaced, "");
  dir_ = other;
  open_store();
  EXPECT_EQ(contents().agents.size(), 2u);
  EXPECT_EQ(contents().revocations.size(), 1u);
  ASSERT_TRUE(enrol({agent(3)})) << "a restored store takes changes";
}

TEST_F(StoreBackup, WhatIsCommittedMeanwhileIsInIt) {
  open_store();
  std::vector<AgentRow> rows;
  for (uint64_t n = 1; n <= 40'000; ++n) rows.push_back(agent(n));
  ASSERT_TRUE(enrol(rows));
  std::optional<Result<Store::BackupDone>> done;
  store_->backup(copy_, [&](Result<Store::BackupDone> r) { done = std::move(r); });
  unsigned during = 0;
  for (uint64_t n = 1; !done && n < 10'000; ++n) {
    ASSERT_TRUE(revoke({revocation(n)}));
    during += done ? 0 : 1;
  }
  ASSERT_TRUE(executor_.run_until([&] { return done.has_value(); }));
  ASSERT_TRUE(*done) << done->error().message;
  EXPECT_GT(during, 3u) << "revocations did not come between the steps";
  EXPECT_GE((*done)->last_change, 40'000u + during);
  store_.reset();
  const auto restored = restore(copy_, root_ + "/other", false);
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(restored->changes, (*done)->last_change);
  EXPECT_EQ(restored->agents, 40'000u);
  EXPECT_EQ(restored->revoked, (*done)->last_change - 40'000);
}

TEST_F(StoreBackup, NothingIsLeftOfOneThatCannotBeWritten) {
  open_store();
  std::vector<AgentRow> rows;
  for (uint64_t n = 1; n <= 20'000; ++n) rows.push_back(agent(n));
  ASSERT_TRUE(enrol(rows));
  fs::create_directory(root_ + "/small");
  std::optional<Error> error;
  std::vector<std::string> left;
  copy_ = root_ + "/small/copy.db";
  // The store's thread has to see the small disk too: it is started there.
  const bool mounted = with_tmpfs(root_ + "/small", "size=256k", [&] {
    reopen_store();
    const auto done = backup();
    if (!done) error = done.error();
    for (const auto& e : fs::directory_iterator(root_ + "/small")) {
      left.push_back(e.path().filename());
    }
    store_.reset();
  });
  if (!mounted) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code, ErrorCode::kStore);
  EXPECT_TRUE(says(*error, "full")) << error->message;
  EXPECT_TRUE(left.empty()) << left.front();
  open_store();
  ASSERT_TRUE(revoke({revocation(1)})) << "the store itself has not suffered";
}

TEST_F(StoreBackup, ARestoreForgetsNothingSilently) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2)}));
  ASSERT_TRUE(backup());
  EXPECT_EQ(restore(copy_, dir_, true).error().code, ErrorCode::kConflict)
      << "a relay uses the directory";
  ASSERT_TRUE(revoke({revocation(2)}));
  ASSERT_TRUE(enrol({agent(3)}));
  store_.reset();
  const auto refused = restore(copy_, dir_, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kRefused);
  EXPECT_TRUE(says(refused.error(), "2 changes")) << refused.error().message;
  EXPECT_TRUE(says(refused.error(), "1 of them revocations")) << refused.error().message;
  open_store();
  EXPECT_EQ(contents().revocations.size(), 1u) << "what was refused changed nothing";
  store_.reset();

  const auto forced = restore(copy_, dir_, true);
  ASSERT_TRUE(forced) << forced.error().message;
  EXPECT_EQ(forced->forgotten_changes, 2u);
  EXPECT_EQ(forced->forgotten_revocations, 1u);
  ASSERT_TRUE(fs::exists(forced->replaced));
  open_store();
  EXPECT_EQ(contents().agents.size(), 2u);
  EXPECT_TRUE(contents().revocations.empty());
  store_.reset();
  // The one that was replaced is whole, and can be put back without a word.
  const auto back = restore(forced->replaced, dir_, false);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->revoked, 1u);
}

TEST_F(StoreBackup, AnotherStoreOrAnotherBranchOfItIsNotReplacedSilently) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2), agent(3)}));
  ASSERT_TRUE(backup());
  // A branch: three changes restored over, then another fourth and fifth.
  ASSERT_TRUE(enrol({agent(4), agent(5)}));
  store_.reset();
  const auto forced = restore(copy_, dir_, true);
  ASSERT_TRUE(forced);
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  store_.reset();
  const auto back = restore(forced->replaced, dir_, false);
  ASSERT_FALSE(back) << "the revocation would be gone";
  EXPECT_EQ(back.error().code, ErrorCode::kRefused);
  EXPECT_TRUE(says(back.error(), "another branch")) << back.error().message;
  EXPECT_TRUE(says(back.error(), "1 of its changes, 1 of them revocations"))
      << back.error().message;
  const auto knowingly = restore(forced->replaced, dir_, true);
  ASSERT_TRUE(knowingly) << knowingly.error().message;
  EXPECT_TRUE(knowingly->forked);
  EXPECT_EQ(knowingly->forgotten_revocations, 1u);
  // Another relay's, with a shorter feed than the backup's, as long a one, and a longer one.
  for (const uint64_t agents : {1u, 3u, 4u}) {
    dir_ = root_ + "/foreign" + std::to_string(agents);
    open_store();
    for (uint64_t n = 0; n < agents; ++n) ASSERT_TRUE(enrol({agent(80 + n)}));
    store_.reset();
    const auto refused = restore(copy_, dir_, false);
    ASSERT_FALSE(refused) << agents;
    EXPECT_TRUE(says(refused.error(), "another store")) << refused.error().message;
    open_store();
    EXPECT_EQ(contents().agents.at(0).name, "agent80");
    store_.reset();
  }
  // A newer backup over an older store forgets nothing.
  dir_ = root_ + "/older";
  ASSERT_TRUE(restore(copy_, dir_, false));
  const auto newer = restore(forced->replaced, dir_, false);
  ASSERT_TRUE(newer) << newer.error().message;
  EXPECT_EQ(newer->forgotten_changes, 0u);
}

TEST_F(StoreBackup, OnlyAWholeBackupIsRestored) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2)}));
  ASSERT_TRUE(backup());
  // A copy of a store in use lacks what is in its log.
  ASSERT_TRUE(revoke({revocation(1)}));
  fs::copy_file(db_, root_ + "/live.db");
  fs::copy_file(db_ + "-wal", root_ + "/live.db-wal");
  store_.reset();
  const std::string other = root_ + "/other";
  EXPECT_TRUE(says(restore(root_ + "/live.db", other, true).error(), "live.db-wal"));
  EXPECT_EQ(restore(db_, dir_, true).error().code, ErrorCode::kUsage) << "the store itself";
  // Damaged, cut off, empty, not a store, not there: nothing moves.
  const auto size = fs::file_size(copy_);
  fs::resize_file(copy_, size / 2);
  const auto half = restore(copy_, dir_, true);
  EXPECT_EQ(half.error().code, ErrorCode::kStore);
  EXPECT_TRUE(says(half.error(), copy_)) << half.error().message;
  EXPECT_FALSE(says(half.error(), ".restored")) << half.error().message;
  fs::resize_file(copy_, 0);
  EXPECT_TRUE(says(restore(copy_, dir_, true).error(), copy_));
  std::ofstream(copy_) << "not a store, but long enough to be read as one"
                       << std::string(5000, 'x');
  EXPECT_EQ(restore(copy_, dir_, true).error().code, ErrorCode::kStore);
  EXPECT_EQ(restore(root_ + "/nothing", dir_, true).error().code, ErrorCode::kStore);
  open_store();
  EXPECT_EQ(contents().revocations.size(), 1u);
}

TEST_F(StoreBackup, ADamagedStoreIsReplacedWhenToldAndKept) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2)}));
  ASSERT_TRUE(backup());
  store_.reset();
  fs::resize_file(db_, fs::file_size(db_) / 2);
  std::ofstream(db_ + "-wal") << "what is left of a log";
  ASSERT_FALSE(Store::open(dir_, executor_.post()));
  const auto refused = restore(copy_, dir_, false);
  ASSERT_FALSE(refused) << "it may have known of a revocation";
  EXPECT_TRUE(says(refused.error(), "cannot be read")) << refused.error().message;
  const auto restored = restore(copy_, dir_, true);
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_FALSE(restored->damage.empty());
  EXPECT_TRUE(fs::exists(restored->replaced));
  EXPECT_FALSE(fs::exists(db_ + "-wal")) << "an old log under a new store";
  open_store();
  EXPECT_EQ(contents().agents.size(), 2u);
}

TEST_F(StoreBackup, NoRelayStartsOnARestoreThatWasInterrupted) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2)}));
  ASSERT_TRUE(backup());
  store_.reset();
  // Killed with the old log moved away and the old store still in place; and after the copy took
  // its name.
  const std::string kept = db_ + ".replaced-1";
  for (const bool placed : {false, true}) {
    std::ofstream(db_ + ".restoring") << kept;
    if (!placed) fs::create_hard_link(db_, kept);
    std::ofstream(kept + "-wal") << "a log";
    std::ofstream(db_ + ".restored") << "half a copy";
    EXPECT_TRUE(says(open_error(), "was interrupted: repeat it"));
    const auto refused = restore(copy_, dir_, false);
    ASSERT_FALSE(refused) << "what the log knew would be forgotten";
    EXPECT_EQ(refused.error().code, ErrorCode::kRefused);
    const auto again = restore(copy_, dir_, true);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->replaced, kept) << "parted from its log";
    open_store();
    EXPECT_EQ(contents().agents.size(), 2u);
    store_.reset();
    EXPECT_FALSE(fs::exists(db_ + ".restoring"));
    EXPECT_FALSE(fs::exists(db_ + ".restored"));
    EXPECT_TRUE(fs::exists(kept));
    EXPECT_TRUE(fs::exists(kept + "-wal"));
  }
}

TEST_F(StoreBackup, ALogWithoutItsStoreIsNotForgottenSilently) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2)}));
  ASSERT_TRUE(backup());
  store_.reset();
  fs::remove(db_);
  std::ofstream(db_ + "-wal") << "the latest revocations, perhaps";
  const auto refused = restore(copy_, dir_, false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kRefused);
  EXPECT_TRUE(fs::exists(db_ + "-wal"));
  const auto forced = restore(copy_, dir_, true);
  ASSERT_TRUE(forced) << forced.error().message;
  EXPECT_TRUE(fs::exists(forced->replaced + "-wal"));
  EXPECT_FALSE(fs::exists(db_ + "-wal")) << "an old log under a new store";
  open_store();
  EXPECT_EQ(contents().agents.size(), 2u);
}

TEST_F(StoreBackup, OneAtATimeAndFromAnotherFileSystem) {
  open_store();
  std::vector<AgentRow> rows;
  for (uint64_t n = 1; n <= 20'000; ++n) rows.push_back(agent(n));
  ASSERT_TRUE(enrol(rows));
  std::optional<Result<Store::BackupDone>> first, second;
  store_->backup(copy_, [&](Result<Store::BackupDone> r) { first = std::move(r); });
  store_->backup(root_ + "/second.db", [&](Result<Store::BackupDone> r) { second = std::move(r); });
  ASSERT_TRUE(executor_.run_until([&] { return first && second; }));
  EXPECT_TRUE(*first);
  ASSERT_FALSE(*second);
  EXPECT_EQ(second->error().code, ErrorCode::kConflict);
  EXPECT_FALSE(fs::exists(root_ + "/second.db"));
  store_.reset();
  fs::create_directory(root_ + "/usb");
  Result<RestoreReport> restored = fail(ErrorCode::kInternal, "not tried");
  const bool mounted = with_tmpfs(root_ + "/usb", "size=64m", [&] {
    fs::copy_file(copy_, root_ + "/usb/copy.db");
    restored = restore(root_ + "/usb/copy.db", root_ + "/other", false);
  });
  if (!mounted) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(restored->agents, 20'000u);
}

}  // namespace
}  // namespace sluice::control
