// The store on real files. SQLite's own file layer is kept, except that a test can count syncs,
// hold one, or let them fail.
#include "unit/store_fixture.h"

namespace sluice::control {
namespace {

// ---- what is kept

TEST_F(StoreTest, KeepsEveryFieldAcrossReopen) {
  open_store();
  AgentRow odd{identity(2), 0xffff, 0xffffffff, std::string("n\0m \xc3\xa4", 6), INT64_MAX};
  ASSERT_TRUE(store_->apply_now(changes({agent(1)})));
  ASSERT_TRUE(enrol({odd}));
  ASSERT_TRUE(revoke({revocation(9, "first"), revocation(3, "")}));
  reopen_store();
  const Snapshot s = contents();
  ASSERT_EQ(s.agents.size(), 2u);
  EXPECT_EQ(s.agents[0].identity, identity(1));
  EXPECT_EQ(s.agents[0].tenant, 7);
  EXPECT_EQ(s.agents[0].node, 1u);
  EXPECT_EQ(s.agents[0].name, "agent1");
  EXPECT_EQ(s.agents[0].created_ms, 1001u);
  EXPECT_EQ(s.agents[1].identity, identity(2));
  EXPECT_EQ(s.agents[1].tenant, 0xffff);
  EXPECT_EQ(s.agents[1].node, 0xffffffffu);
  EXPECT_EQ(s.agents[1].name, odd.name);
  EXPECT_EQ(s.agents[1].created_ms, uint64_t{INT64_MAX});
  ASSERT_EQ(s.revocations.size(), 2u);  // in the order made, not by identity
  EXPECT_EQ(s.revocations[0].identity, identity(9));
  EXPECT_EQ(s.revocations[0].reason, "first");
  EXPECT_EQ(s.revocations[0].at_ms, 5009u);
  EXPECT_EQ(s.revocations[1].identity, identity(3));
  EXPECT_EQ(s.revocations[1].reason, "");
}

TEST_F(StoreTest, FilesArePrivateWhateverTheUmask) {
  for (const mode_t mask : {0000, 0277}) {
    dir_ = root_ + "/umask" + std::to_string(mask);
    const mode_t before = umask(mask);
    auto r = Store::open(dir_ + "/", executor_.post());
    umask(before);
    if (mask == 0277 && geteuid() != 0) continue;
    ASSERT_TRUE(r) << r.error().message;
    ASSERT_TRUE((*r)->apply_now(changes({agent(1)})));
    EXPECT_EQ(mode_of(dir_) & 077, 0u);
    for (const auto& entry : fs::directory_iterator(dir_)) {
      EXPECT_EQ(mode_of(entry.path()) & 0177, 0u) << entry.path();
    }
    EXPECT_EQ(mode_of(dir_ + "/sluice.db"), 0600u);
    EXPECT_EQ(mode_of(dir_ + "/sluice.db-wal"), 0600u);
  }
  dir_ = root_ + "/umask0";
  ASSERT_EQ(mode_of(dir_), 0700u);
  chmod((dir_ + "/sluice.db").c_str(), 0644);
  open_store();
  EXPECT_EQ(mode_of(dir_ + "/sluice.db"), 0600u);
}

TEST_F(StoreTest, RepeatedEnrolmentIsFineAndKeepsTheFirst) {
  open_store();
  ASSERT_TRUE(enrol({agent(1)}));
  AgentRow again = agent(1);
  again.name = "other";
  again.created_ms = 1;
  EXPECT_TRUE(enrol({again, again}));
  ASSERT_EQ(contents().agents.size(), 1u);
  EXPECT_EQ(contents().agents[0].name, "agent1");
  EXPECT_EQ(contents().agents[0].created_ms, 1001u);
}

TEST_F(StoreTest, AnAddressIsForGood) {
  open_store();
  ASSERT_TRUE(enrol({agent(1)}));
  AgentRow moved = agent(1);
  moved.node = 2;
  auto r = enrol({moved});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(says(r.error(), "that identity has address")) << r.error().message;
  AgentRow thief = agent(1);
  thief.identity = identity(2);
  r = enrol({thief});
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kConflict);
  EXPECT_TRUE(says(r.error(), "belongs to agent1")) << r.error().message;
  AgentRow other_tenant = thief;
  other_tenant.tenant = 8;
  EXPECT_TRUE(enrol({other_tenant}));
  EXPECT_EQ(contents().agents.size(), 2u);
  EXPECT_FALSE(store_->apply_now(changes({moved})));
}

TEST_F(StoreTest, RepeatedRevocationIsFineAndKeepsTheFirst) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1, "stolen")}));
  ASSERT_TRUE(revoke({revocation(1, "later"), revocation(2), revocation(2, "twice")}));
  const Snapshot s = contents();
  ASSERT_EQ(s.revocations.size(), 2u);
  EXPECT_EQ(s.revocations[0].reason, "stolen");
  EXPECT_EQ(s.revocations[1].reason, "stolen key");
}

TEST_F(StoreTest, ABadOperationFailsAlone) {
  open_store();
  ASSERT_TRUE(enrol({agent(1)}));
  hold_log();
  std::optional<Result<WriteTimes>> first, before, bad, ugly, after;
  store_->apply(changes({revocation(1)}), keep(first));
  wait_until_held();  // what follows is one transaction
  AgentRow thief = agent(1);
  thief.identity = identity(50);
  RevocationRow out_of_range = revocation(61);
  out_of_range.at_ms = uint64_t{1} << 63;
  store_->apply(changes({agent(2)}), keep(before));
  store_->apply(changes({agent(3), thief, agent(4)}), keep(bad));
  store_->apply(changes({revocation(60), out_of_range}), keep(ugly));
  store_->apply(changes({revocation(2)}), keep(after));
  const uint64_t commits = store_->commits();
  release_log();
  EXPECT_TRUE(wait(first));
  EXPECT_TRUE(wait(before));
  EXPECT_TRUE(wait(after));
  ASSERT_FALSE(wait(bad));
  EXPECT_EQ(bad->error().code, ErrorCode::kConflict);
  ASSERT_FALSE(wait(ugly));
  EXPECT_EQ(ugly->error().code, ErrorCode::kUsage);
  EXPECT_EQ(store_->commits(), commits + 2);
  EXPECT_TRUE(rereads_.empty());
  reopen_store();
  const Snapshot s = contents();
  ASSERT_EQ(s.agents.size(), 2u);  // all rows of an operation or none
  EXPECT_EQ(s.agents[1].identity, identity(2));
  ASSERT_EQ(s.revocations.size(), 2u);
  EXPECT_EQ(s.revocations[1].identity, identity(2));
}

// ---- answers

TEST_F(StoreTest, AnswersRunOnTheExecutorOnly) {
  open_store();
  std::thread::id ran_on;
  bool answered = false;
  store_->apply(changes({revocation(1)}), [&](Result<WriteTimes> r) {
    EXPECT_TRUE(r);
    ran_on = std::this_thread::get_id();
    answered = true;
  });
  for (int i = 0; i < 1000 && executor_.waiting() == 0; ++i) std::this_thread::sleep_for(10ms);
  ASSERT_EQ(executor_.waiting(), 1u);
  EXPECT_FALSE(answered);
  executor_.run_one();
  EXPECT_TRUE(answered);
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST_F(StoreTest, EnrolNowNeedsNoExecutor) {
  open_store();
  EXPECT_TRUE(store_->apply_now(changes({agent(1), agent(2)})));
  EXPECT_EQ(executor_.waiting(), 0u);
  EXPECT_EQ(contents().agents.size(), 2u);
}

TEST_F(StoreTest, AnswersOnlyAfterTheSync) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));  // the log's header has its own sync
  const uint64_t synced = count(&Syncs::log);
  hold_log();
  std::optional<Result<WriteTimes>> answer;
  store_->apply(changes({revocation(2)}), keep(answer));
  wait_until_held();
  EXPECT_FALSE(executor_.run_one(50ms));
  EXPECT_FALSE(answer);
  release_log();
  ASSERT_TRUE(wait(answer));
  EXPECT_GE((*answer)->sync_us, 50'000u);
  EXPECT_LT((*answer)->sync_us, 10'000'000u);
  EXPECT_GT(count(&Syncs::log), synced);
}

TEST_F(StoreTest, WhatQueuesDuringACommitIsTheNextCommit) {
  open_store();
  hold_log();
  const uint64_t commits = store_->commits();
  int ok = 0;
  const auto done = [&](Result<WriteTimes> r) { ok += r.has_value(); };
  store_->apply(changes({revocation(0)}), done);
  wait_until_held();
  const auto start = std::chrono::steady_clock::now();
  for (uint64_t i = 1; i <= 2000; ++i) store_->apply(changes({revocation(i)}), done);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);  // not blocked by the held sync
  EXPECT_EQ(ok, 0);
  release_log();
  ASSERT_TRUE(executor_.run_until([&] { return ok == 2001; }));
  EXPECT_EQ(store_->commits(), commits + 2);
  EXPECT_EQ(contents().revocations.size(), 2001u);
}

TEST_F(StoreTest, TheDestructorFinishesWhatIsQueued) {
  open_store();
  int ok = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    store_->apply(changes({revocation(i)}), [&](Result<WriteTimes> r) { ok += r.has_value(); });
  }
  store_.reset();
  while (executor_.waiting() > 0) executor_.run_one();
  EXPECT_EQ(ok, 300);
  open_store();
  EXPECT_EQ(contents().revocations.size(), 300u);
}

TEST_F(StoreTest, TheLogDoesNotGrowWithoutEnd) {
  open_store();
  for (uint64_t n = 0; n < 12; ++n) {
    std::vector<RevocationRow> rows;
    for (uint64_t i = 0; i < 2000; ++i) {
      rows.push_back(revocation(n * 2000 + i, std::string(1000, 'r')));
    }
    ASSERT_TRUE(revoke(std::move(rows)));
  }
  ASSERT_TRUE(revoke({revocation(1'000'000)}));
  EXPECT_GT(fs::file_size(db_), 20u << 20);
  EXPECT_LT(fs::file_size(db_ + "-wal"), 8u << 20);
  EXPECT_EQ(contents().revocations.size(), 24'001u);
}

// ---- kill -9

// A relay that revokes as fast as it can and tells which revocations were acknowledged.
[[noreturn]] void revoke_until_killed(const std::string& dir, int pipe, uint64_t from) {
  Executor executor;
  auto r = Store::open(dir, executor.post());
  if (!r) _exit(3);
  std::unique_ptr<Store> store = std::move(*r);
  uint64_t next = from, acknowledged = from;
  for (;;) {
    while (next < acknowledged + 100) {
      store->apply(changes({revocation(next)}),
                   [n = next, pipe, &acknowledged](Result<WriteTimes> ok) {
                     if (!ok || write(pipe, &n, sizeof n) != sizeof n) _exit(4);
                     ++acknowledged;
                   });
      ++next;
    }
    executor.run_one();
  }
}

TEST_F(StoreTest, KillLosesNothingAcknowledged) {
  std::mt19937 random(std::random_device{}());
  std::set<uint64_t> acknowledged;
  int storms_with_answers = 0;
  for (int round = 0; round < 20; ++round) {
    int pipes[2];
    ASSERT_EQ(pipe2(pipes, O_CLOEXEC), 0);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) revoke_until_killed(dir_, pipes[1], uint64_t(round) * 1'000'000);
    close(pipes[1]);
    // Three of four in the storm, the others also while the store opens.
    uint64_t id;
    bool any = false;
    if (round % 4 != 0) {
      ASSERT_EQ(read(pipes[0], &id, sizeof id), ssize_t(sizeof id));
      any = acknowledged.insert(id).second;
    }
    fcntl(pipes[0], F_SETPIPE_SZ, 1 << 20);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended with " << WEXITSTATUS(status);
    while (read(pipes[0], &id, sizeof id) == ssize_t(sizeof id)) {
      acknowledged.insert(id);
      any = true;
    }
    close(pipes[0]);
    storms_with_answers += any;

    open_store();
    std::set<uint64_t> there;
    for (const auto& row : contents().revocations) {
      there.insert(load_le<uint64_t>(row.identity.data()));
    }
    store_.reset();
    size_t lost = 0;
    for (const uint64_t n : acknowledged) lost += !there.contains(n);
    ASSERT_EQ(lost, 0u) << "of " << acknowledged.size() << " in round " << round;
  }
  EXPECT_GE(storms_with_answers, 15);
}

// ---- what open refuses

TEST_F(StoreTest, RefusesASecondRelay) {
  open_store();
  const Error e = open_error();
  EXPECT_EQ(e.code, ErrorCode::kConflict);
  EXPECT_TRUE(says(e, "in use by another relay")) << e.message;
  reopen_store();
  EXPECT_TRUE(revoke({revocation(1)}));
}

TEST_F(StoreTest, NobodyElseWritesBehindItsBack) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  const Connection db = raw_open(db_);
  EXPECT_EQ(execute(db.get(), "DELETE FROM revocations"), SQLITE_BUSY);
}

TEST_F(StoreTest, RefusesADamagedFile) {
  open_store();
  for (uint64_t i = 0; i < 500; ++i) ASSERT_TRUE(store_->apply_now(changes({agent(i)})));
  store_.reset();
  std::string good;
  {
    std::ifstream in(db_, std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_GT(good.size(), 3 * 4096u);
  const auto with = [&](std::string content) {
    std::ofstream(db_, std::ios::binary | std::ios::trunc) << content;
  };
  const auto refused = [&](const char* what) {
    const Error e = open_error();
    EXPECT_EQ(e.code, ErrorCode::kStore) << what;
    EXPECT_TRUE(says(e, "is damaged (")) << what << ": " << e.message;
    EXPECT_TRUE(says(e, "restore it from a backup")) << what << ": " << e.message;
  };
  with("this is not a database at all, however long the sentence is made");
  refused("text");
  with("");
  refused("empty");
  with(good.substr(0, good.size() - 2 * 4096));
  refused("cut short");
  size_t found_later = 0;
  // The evidence is not read at start: damage there is told to who asks for it.
  std::set<size_t> evidence;
  {
    with(good);
    const Connection db = raw_open(db_);
    const Statement roots =
        prepare(db.get(), "SELECT rootpage FROM sqlite_schema WHERE tbl_name = 'statements'");
    control::Run r(roots);
    while (r.step() == SQLITE_ROW) evidence.insert(r.number(0) - 1);
  }
  ASSERT_EQ(evidence.size(), 2u);
  for (size_t page = 1; page * 4096 < good.size(); ++page) {
    if (evidence.contains(page)) continue;
    std::string bad = good;
    std::fill_n(bad.begin() + ptrdiff_t(page * 4096), 64, '\x5a');
    with(bad);
    refused("a page's head overwritten");
    // Left to check(), it is found there at the latest.
    auto opened = Store::open(dir_, executor_.post(), {}, false);
    if (!opened) continue;
    const auto sound = (*opened)->check().get();
    ASSERT_FALSE(sound) << "page " << page;
    EXPECT_EQ(sound.error().code, ErrorCode::kStore);
    EXPECT_TRUE(says(sound.error(), "is damaged (")) << sound.error().message;
    ++found_later;
  }
  EXPECT_GT(found_later, 3u);
  with(good);
  open_store();
  EXPECT_EQ(contents().agents.size(), 500u);
}

TEST_F(StoreTest, RefusesALogWithoutItsDatabase) {
  open_store();
  store_.reset();
  fs::rename(db_, db_ + "-wal");
  const Error e = open_error();
  EXPECT_EQ(e.code, ErrorCode::kStore);
  EXPECT_TRUE(says(e, "is missing, but its log")) << e.message;
  EXPECT_FALSE(fs::exists(db_));
}

TEST_F(StoreTest, RefusesANewerSchemaAndAStrangersFile) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  store_.reset();
  raw(db_, "PRAGMA user_version = 99");
  Error e = open_error();
  EXPECT_EQ(e.code, ErrorCode::kStore);
  EXPECT_TRUE(says(e, "schema version 99")) << e.message;
  raw(db_, "PRAGMA user_version = 1; PRAGMA application_id = 4");
  e = open_error();
  EXPECT_EQ(e.code, ErrorCode::kStore);
  EXPECT_TRUE(says(e, "is not a store of this program")) << e.message;
}

TEST_F(StoreTest, RefusesADirectoryThatIsAFile) {
  std::ofstream(dir_) << "x";
  Error e = open_error();
  EXPECT_EQ(e.code, ErrorCode::kStore);
  EXPECT_TRUE(says(e, dir_ + " exists and is not a folder")) << e.message;
  dir_ += "/below";
  e = open_error();
  EXPECT_EQ(e.code, ErrorCode::kStore);
  EXPECT_TRUE(says(e, "no state directory")) << e.message;
}

TEST_F(StoreTest, RefusesAReadOnlyDirectory) {
  fs::create_directory(dir_);
  const auto refused = [&] {
    const Error e = open_error();
    EXPECT_EQ(e.code, ErrorCode::kPermission);
    EXPECT_TRUE(says(e, "cannot write in the state directory " + dir_)) << e.message;
  };
  if (geteuid() != 0) {
    chmod(dir_.c_str(), 0500);
    refused();
    chmod(dir_.c_str(), 0700);
    return;
  }
  const bool mounted = with_tmpfs(dir_, "size=1m", [&] {
    open_store();
    store_.reset();
    ASSERT_EQ(mount(nullptr, dir_.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr), 0);
    refused();
  });
  if (!mounted) GTEST_SKIP() << "may not mount";
}

// ---- the schema

TEST_F(StoreTest, MigrationsGoForwardAndAFailedOneLeavesTheVersionBefore) {
  const Connection db = raw_open(root_ + "/m.db");
  const auto version = [&] {
    const Statement s = prepare(db.get(), "PRAGMA user_version");
    control::Run r(s);
    EXPECT_EQ(r.step(), SQLITE_ROW);
    return r.number(0);
  };
  const char* one[] = {"CREATE TABLE a (x)"};
  ASSERT_EQ(migrate(db.get(), 0, one), SQLITE_OK);
  EXPECT_EQ(version(), 1u);
  const char* bad[] = {one[0], "ALTER TABLE a ADD COLUMN y",
                       "CREATE TABLE c (x); CREATE TABLE a (x)"};
  EXPECT_NE(migrate(db.get(), 1, bad), SQLITE_OK);
  EXPECT_EQ(version(), 2u);
  EXPECT_EQ(execute(db.get(), "SELECT y FROM a"), SQLITE_OK);
  EXPECT_EQ(execute(db.get(), "SELECT * FROM c"), SQLITE_ERROR);
  const char* good[] = {bad[0], bad[1], "CREATE TABLE c (x)"};
  EXPECT_EQ(migrate(db.get(), 2, good), SQLITE_OK);
  EXPECT_EQ(version(), 3u);
  EXPECT_EQ(migrate(db.get(), 3, good), SQLITE_OK);
}

TEST_F(StoreTest, TheSchemaItselfRefusesWhatMustNotBe) {
  open_store();
  ASSERT_TRUE(store_->apply_now(changes({agent(1)})));
  store_.reset();
  const Connection db = raw_open(db_);
  for (const char* sql : {
           "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES (zeroblob(31), 1, "
           "1, 'n', 1)",
           "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES (zeroblob(32), "
           "65536, 1, 'n', 1)",
           "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES (zeroblob(32), 1, "
           "4294967296, 'n', 1)",
           "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES (zeroblob(32), 7, "
           "1, 'n', 1)",
           "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES (zeroblob(32), "
           "'x', 1, 'n', 1)",
           "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES (NULL, 1, 1, 'n', "
           "1)",
           "INSERT INTO revocations (identity, reason, at_ms) VALUES (zeroblob(33), 'r', 1)",
           "INSERT INTO revocations (identity, reason, at_ms) VALUES (zeroblob(32), 'r', -1)",
       }) {
    EXPECT_EQ(execute(db.get(), sql), SQLITE_CONSTRAINT) << sql;
  }
  EXPECT_EQ(execute(db.get(),
                    "INSERT INTO agents (identity, tenant, node, name, created_ms) VALUES "
                    "(zeroblob(32), 1, 1, 'n', 1)"),
            SQLITE_OK);
}

// ---- when the disk fails

TEST_F(StoreTest, AFullDiskIsSaidAndGotOver) {
  fs::create_directory(dir_);
  const bool mounted = with_tmpfs(dir_, "size=512k", [&] {
    open_store();
    ASSERT_TRUE(revoke({revocation(0)}));
    std::set<uint64_t> acknowledged{0};
    Result<WriteTimes> r;
    for (uint64_t n = 1; n < 2000 && r; ++n) {
      r = revoke({revocation(n, std::string(2000, 'x'))});
      if (r) acknowledged.insert(n);
    }
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kStore);
    EXPECT_TRUE(says(r.error(), "the disk is full")) << r.error().message;
    ASSERT_GT(acknowledged.size(), 10u);
    // Room again: without a restart.
    ASSERT_EQ(mount(nullptr, dir_.c_str(), nullptr, MS_REMOUNT, "size=8m"), 0);
    const auto after = revoke({revocation(5000)});
    EXPECT_TRUE(after) << after.error().message;
    acknowledged.insert(5000);
    EXPECT_GE(rereads_.size(), 1u);
    reopen_store();
    for (const auto& row : contents().revocations) {
      acknowledged.erase(load_le<uint64_t>(row.identity.data()));
    }
    EXPECT_TRUE(acknowledged.empty());
    store_.reset();
    // A first start on a full disk.
    ASSERT_EQ(mount(nullptr, dir_.c_str(), nullptr, MS_REMOUNT, "size=4m"), 0);
    fs::remove(db_);
    std::ofstream fill(dir_ + "/fill", std::ios::binary);
    while (fill << std::string(4096, 'f') << std::flush) continue;
    const Error e = open_error();
    EXPECT_EQ(e.code, ErrorCode::kStore);
    EXPECT_TRUE(says(e, "the disk is full")) << e.message;
  });
  if (!mounted) GTEST_SKIP() << "may not mount";
}

TEST_F(StoreTest, AFileSizeLimitIsAnErrorAndNotTheEnd) {
  open_store();
  ASSERT_TRUE(revoke({revocation(0)}));
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  struct rlimit tight = before;
  tight.rlim_cur = 128 << 10;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  const auto r = revoke({revocation(1, std::string(1 << 20, 'x'))});
  setrlimit(RLIMIT_FSIZE, &before);
  ASSERT_FALSE(r);
  EXPECT_EQ(r.error().code, ErrorCode::kStore);
  const auto again = revoke({revocation(1, std::string(1 << 20, 'x'))});
  EXPECT_TRUE(again) << again.error().message;
  EXPECT_EQ(contents().revocations.size(), 2u);
}

TEST_F(StoreTest, OneFailedSyncIsReopenedRereadAndTriedAgain) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  const uint64_t database_syncs = count(&Syncs::database);
  fail_syncs(1, 0);
  const auto r = revoke({revocation(2)});
  EXPECT_TRUE(r) << r.error().message;
  ASSERT_EQ(rereads_.size(), 1u);
  EXPECT_EQ(answered_at_reread_, 1);  // the reread comes before the second answer
  EXPECT_GE(rereads_[0].revocations.size(), 1u);
  EXPECT_EQ(rereads_[0].revocations[0].identity, identity(1));
  EXPECT_GT(count(&Syncs::database), database_syncs);
  reopen_store();
  EXPECT_EQ(contents().revocations.size(), 2u);
}

TEST_F(StoreTest, WhileNothingSyncsNothingIsAcknowledged) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  fail_syncs(1 << 30, 1 << 30);
  for (int i = 0; i < 3; ++i) {
    // The second and third find it in the log, as written by the first and never synced.
    const auto r = revoke({revocation(2)});
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kStore);
  }
  const auto late = revoke({revocation(1)});
  ASSERT_FALSE(late);
  EXPECT_TRUE(says(late.error(), "the store is closed after an error")) << late.error().message;
  EXPECT_FALSE(store_->load());
  EXPECT_TRUE(rereads_.empty());
  fail_syncs(0, 0);
  const uint64_t all = count(&Syncs::database) + count(&Syncs::log);
  const auto r = revoke({revocation(2)});
  EXPECT_TRUE(r) << r.error().message;
  EXPECT_GT(count(&Syncs::database) + count(&Syncs::log), all);
  EXPECT_EQ(rereads_.size(), 1u);
  reopen_store();
  EXPECT_EQ(contents().revocations.size(), 2u);
}

TEST_F(StoreTest, AFailedCheckpointIsGotOverBeforeTheNextAnswer) {
  open_store();
  fail_syncs(0, 1);
  ASSERT_TRUE(revoke({revocation(1, std::string(8 << 20, 'x'))}));  // in the log, so durable
  EXPECT_TRUE(rereads_.empty());
  ASSERT_TRUE(revoke({revocation(2)}));
  ASSERT_EQ(rereads_.size(), 1u);
  EXPECT_EQ(answered_at_reread_, 1);
  reopen_store();
  EXPECT_EQ(contents().revocations.size(), 2u);
}

// A process that was killed between write and sync leaves commits that only the page cache has:
// before they count as done, they must be synced.
TEST_F(StoreTest, OpeningSyncsWhatAKilledRelayLeft) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  const std::string copy = root_ + "/copy";
  fs::create_directory(copy);
  for (const char* name : {"/sluice.db", "/sluice.db-wal"}) fs::copy_file(dir_ + name, copy + name);
  store_.reset();
  dir_ = copy;
  ASSERT_GT(fs::file_size(copy + "/sluice.db-wal"), 0u);
  const uint64_t log = count(&Syncs::log), database = count(&Syncs::database);
  open_store();
  EXPECT_GT(count(&Syncs::log), log);
  EXPECT_GT(count(&Syncs::database), database);
  EXPECT_EQ(contents().revocations.size(), 1u);
}

TEST_F(StoreTest, ADeletedDatabaseIsNoticedAndNotReplacedByAnEmptyOne) {
  open_store();
  ASSERT_TRUE(revoke({revocation(1)}));
  fs::rename(db_, root_ + "/away");
  for (int i = 0; i < 2; ++i) {
    const auto r = revoke({revocation(2)});
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kStore);
    EXPECT_FALSE(fs::exists(db_));
  }
  fs::rename(root_ + "/away", db_);
  const auto r = revoke({revocation(3)});
  EXPECT_TRUE(r) << r.error().message;
  ASSERT_GE(contents().revocations.size(), 2u);
  EXPECT_EQ(contents().revocations[0].identity, identity(1));
}

}  // namespace
}  // namespace sluice::control
