// Restores beside an audit log: a log goes on with the history that it recorded, or knowingly with
// less of it; never with another one. And what becomes of the numbers.
#include "audit/log.h"
#include "control/store_restore.h"
#include "unit/store_fixture.h"

namespace sluice::control {
namespace {

class StoreAudit : public StoreTest {
 protected:
  void SetUp() override {
    StoreTest::SetUp();
    log_ = dir_ + "/audit";
  }
  // Enrols one more agent; a copy of the store as it is then.
  std::string copy(const std::string& name) {
    const std::string out = root_ + "/" + name;
    std::optional<Result<Store::BackupDone>> done;
    store_->backup(out, [&](Result<Store::BackupDone> r) { done = std::move(r); });
    EXPECT_TRUE(executor_.run_until([&] { return done.has_value(); }) && *done);
    return out;
  }
  // What the relay would have recorded by now; many others between them.
  void record(size_t between = 0) {
    auto log = audit::Log::open(log_, "x", {}, 65536);
    ASSERT_TRUE(log) << log.error().message;
    const auto entries = store_->audit_feed_now((*log)->last_change().sequence, 1000);
    ASSERT_TRUE(entries);
    size_t taken = 0;
    for (const auto& e : *entries) {
      const std::vector<audit::Record> fill(between,
                                            audit::make_record({.kind = audit::Kind::kAct}));
      ASSERT_TRUE((*log)->append(fill, taken));
      const auto r = audit::record_of(audit::Change{.sequence = e.entry.sequence,
                                                    .at_ms = e.entry.at_ms,
                                                    .actor = e.entry.actor,
                                                    .kind = e.entry.kind,
                                                    .subject = e.entry.subject,
                                                    .object = e.entry.object});
      ASSERT_TRUE((*log)->append(std::span(&r, 1), taken));
    }
    ASSERT_TRUE((*log)->publish());
  }
  Result<RestoreReport> restore(const std::string& backup, bool forget) {
    store_.reset();
    return restore_store(backup, dir_, log_, forget);
  }
  std::vector<FeedEntry> feed() {
    std::vector<FeedEntry> out;
    const auto all = store_->audit_feed_now(0, 1000);
    EXPECT_TRUE(all);
    for (const auto& e : *all) out.push_back(e.entry);
    return out;
  }
  std::string log_;
};

TEST_F(StoreAudit, WhatTheLogRecordedIsForgottenKnowinglyOrNotAtAll) {
  for (const size_t between : {0u, 30'000u}) {  // in the journal, and in tiles before it
    SCOPED_TRACE(between);
    fs::remove_all(dir_);
    fs::remove(root_ + "/early");
    fs::remove(root_ + "/late");
    open_store();
    ASSERT_TRUE(enrol({agent(1), agent(2)}));
    const std::string early = copy("early");
    ASSERT_TRUE(enrol({agent(3)}));
    const std::string late = copy("late");
    ASSERT_TRUE(enrol({agent(4), agent(5)}));
    record(between);
    // Where nothing else tells of the later changes.
    store_.reset();
    fs::remove(db_);
    auto r = restore(early, false);
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().code, ErrorCode::kRefused);
    EXPECT_TRUE(says(r.error(), "recorded changes up to 5"));
    r = restore(early, true);
    ASSERT_TRUE(r) << r.error().message;
    EXPECT_EQ(r->audited, 5u);
    open_store();
    auto entries = feed();
    ASSERT_EQ(entries.size(), 3u);
    EXPECT_EQ(entries[2].sequence, 6u);
    EXPECT_EQ(entries[2].kind, "changes_forgotten");
    EXPECT_EQ(load_le<uint64_t>(entries[2].subject.data()), 2u);
    EXPECT_EQ(load_le<uint64_t>(entries[2].object.data()), 5u);
    ASSERT_TRUE(enrol({agent(6)}));
    EXPECT_EQ(feed().back().sequence, 7u) << "numbers are not given twice";
    // The better backup is of the same history.
    r = restore(late, true);
    ASSERT_TRUE(r) << r.error().message;
    open_store();
    entries = feed();
    ASSERT_EQ(entries.size(), 4u);
    EXPECT_EQ(entries[3].kind, "changes_forgotten");
    EXPECT_EQ(load_le<uint64_t>(entries[3].subject.data()), 3u);
    EXPECT_EQ(load_le<uint64_t>(entries[3].object.data()), 7u);
    EXPECT_EQ(entries[3].sequence, 8u);
    store_.reset();
  }
}

TEST_F(StoreAudit, AnotherHistoryIsNotJoinedToTheLog) {
  open_store();
  ASSERT_TRUE(enrol({agent(1), agent(2), agent(3)}));
  record();
  store_.reset();
  const std::string mine = root_ + "/mine";
  fs::rename(dir_, mine);
  for (const unsigned agents : {2u, 3u, 5u}) {
    // Of another relay, shorter, as long and longer.
    fs::remove_all(dir_);
    fs::remove(root_ + "/other");
    open_store();
    for (unsigned i = 0; i < agents; ++i) ASSERT_TRUE(enrol({agent(static_cast<uint8_t>(50 + i))}));
    const std::string other = copy("other");
    store_.reset();
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    fs::copy(mine + "/audit", dir_ + "/audit", fs::copy_options::recursive);
    const auto r = restore(other, true);
    ASSERT_FALSE(r) << agents;
    EXPECT_TRUE(says(r.error(), "another history")) << r.error().message;
    EXPECT_FALSE(fs::exists(db_));
  }
}

TEST_F(StoreAudit, ALogIsGivenUpOnlyAsOne) {
  open_store();
  ASSERT_TRUE(enrol({agent(1)}));
  record();
  EXPECT_EQ(give_up_audit_log(dir_, log_, false).error().code, ErrorCode::kConflict);
  store_.reset();
  EXPECT_EQ(give_up_audit_log(dir_, root_, false).error().code, ErrorCode::kNotFound);
  {
    const auto busy = audit::lock_log(log_);
    EXPECT_EQ(give_up_audit_log(dir_, log_, false).error().code, ErrorCode::kConflict);
  }
  const auto done = give_up_audit_log(dir_, log_, false);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(audit::has_log(log_));
  EXPECT_TRUE(audit::has_log(done->kept));
  EXPECT_EQ(give_up_audit_log(dir_, log_, false).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(give_up_audit_log(dir_, log_, true));
  open_store();
  EXPECT_EQ(contents().audit.at_ms, 0u);
  EXPECT_EQ(feed().back().kind, "audit_log_forgotten");
}

// Which the store keeps, the last thousand of them, and of which the feed says nothing.
TEST_F(StoreAudit, CheckpointsAreKept) {
  open_store();
  for (uint64_t i = 1; i <= 1100; ++i) {
    ASSERT_TRUE(store_->apply_now({"relay", i, {AuditCheckpointRow{i, {uint8_t(i)}, 1000 + i}}}));
  }
  reopen_store();
  EXPECT_EQ(contents().audit.size, 1100u);
  EXPECT_EQ(contents().audit.root[0], uint8_t(1100));
  EXPECT_EQ(contents().audit.at_ms, 2100u);
  EXPECT_TRUE(feed().empty());
}

}  // namespace
}  // namespace sluice::control
