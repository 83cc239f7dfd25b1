// The log on disk: that it is what others' tools read, and that nothing signed is ever lost or
// taken back.
#include "audit_fixture.h"

#include <sys/stat.h>

#include <random>

namespace sluice::audit {
namespace {

// The tree as RFC 6962 defines it, by recursion.
Hash mth(std::span<const Record> d) {
  if (d.empty()) return crypto::sha256({});
  if (d.size() == 1) return leaf_hash(d[0]);
  size_t k = 1;
  while (2 * k < d.size()) k *= 2;
  return node_hash(mth(d.first(k)), mth(d.subspan(k)));
}

using AuditLog = AuditFolder;

TEST_F(AuditLog, IsWhatTheSpecificationSaysOfATreeOf70000) {
  const auto all = some(0, 70'000);
  std::mt19937 random(1);
  auto log = open();
  ASSERT_TRUE(log) << error_;
  EXPECT_TRUE(log->opened().fresh);
  for (size_t at = 0; at < all.size();) {
    const size_t n = std::min<size_t>(all.size() - at, 1 + random() % 3000);
    ASSERT_TRUE(append(*log, std::span(all).subspan(at, n)));
    at += n;
    if (random() % 4 == 0) {
      ASSERT_TRUE(log->publish());
    }
  }
  ASSERT_TRUE(log->publish());
  EXPECT_EQ(log->root(), mth(all));
  const auto head = check();
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->size, 70'000u);
  EXPECT_EQ(head->root, mth(all));
  EXPECT_EQ(head->origin, "relay.example/audit");
  // The example of the specification's text.
  using std::filesystem::exists;
  using std::filesystem::file_size;
  EXPECT_EQ(file_size(file({0, 272})), 8192u);
  EXPECT_EQ(file_size(file({0, 273, 112})), 112u * 32);
  EXPECT_FALSE(exists(file({0, 273})));
  EXPECT_EQ(file_size(file({1, 0})), 8192u);
  EXPECT_EQ(file_size(file({1, 1, 17})), 17u * 32);
  EXPECT_EQ(file_size(file({2, 0, 1})), 32u);
  EXPECT_FALSE(exists(file({3, 0, 1})));
  EXPECT_EQ(file_size(file({std::nullopt, 272})), 256u * 130);
  EXPECT_EQ(file_size(file({std::nullopt, 273, 112})), 112u * 130);
  EXPECT_FALSE(exists(file({0, 272}) + ".p")) << "partial tiles go when the whole one is there";
  const std::string bundle = contents(file({std::nullopt, 272}));
  EXPECT_EQ(load_be16(bundle.data()), kRecordSize);
  EXPECT_EQ(0, std::memcmp(bundle.data() + 2, all[272 * 256].data(), kRecordSize));
}

TEST_F(AuditLog, GoesOnAfterAStop) {
  for (uint64_t round = 0, size = 0; round < 6; ++round) {
    auto log = open();
    ASSERT_TRUE(log) << error_;
    EXPECT_EQ(log->size(), size);
    EXPECT_FALSE(log->opened().crashed) << round;
    auto more = some(size, 150);
    more.back() = make_record({.kind = Kind::kClosed, .time_ms = 77 + round});
    ASSERT_TRUE(append(*log, more));
    size += more.size();
    ASSERT_TRUE(log->close());
    ASSERT_TRUE(check()) << check().error().message;
  }
  EXPECT_EQ(open()->opened().last_ms, 82u);
}

TEST_F(AuditLog, ACrashTakesBackNothingThatWasSynced) {
  const auto all = some(0, 3000);
  {
    auto log = open();
    ASSERT_TRUE(append(*log, std::span(all).first(1000)));
    ASSERT_TRUE(log->publish());
    ASSERT_TRUE(append(*log, std::span(all).subspan(1000)));
    ASSERT_TRUE(log->sync());
  }
  // Tiles are not synced: a crash may take any of them.
  std::filesystem::remove_all(folder_ + "/tile");
  auto log = open();
  ASSERT_TRUE(log) << error_;
  EXPECT_TRUE(log->opened().crashed);
  EXPECT_EQ(log->size(), 3000u);
  EXPECT_EQ(log->root(), mth(all));
  EXPECT_EQ(log->published().size, 1000u);
  ASSERT_TRUE(log->publish());
  ASSERT_TRUE(check()) << check().error().message;
}

// The record of a stop is on disk before the tiles are.
TEST_F(AuditLog, AStopThatWasCutShortIsACrash) {
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 511)));
    ASSERT_TRUE(log->publish());
    const Record closed = make_record({.kind = Kind::kClosed});
    ASSERT_TRUE(append(*log, std::span(&closed, 1)));
    ASSERT_TRUE(log->sync());
  }
  std::filesystem::remove_all(folder_ + "/tile");
  auto log = open();
  ASSERT_TRUE(log) << error_;
  EXPECT_TRUE(log->opened().crashed);
  ASSERT_TRUE(log->publish());
  ASSERT_TRUE(check()) << check().error().message;
}

// Of partial tiles, which nobody syncs, a crash may leave empty files: what was known of the log
// is looked for in its journal.
TEST_F(AuditLog, IsRecognisedWithoutItsTiles) {
  Hash root{};
  for (const uint64_t records : {300u, 65536u + 300u}) {
    {
      auto log = open(65536);
      while (log->size() < records)
        ASSERT_TRUE(
            append(*log, some(log->size(), std::min<uint64_t>(1000, records - log->size()))));
      ASSERT_TRUE(log->publish());
      root = log->root();
      ASSERT_TRUE(append(*log, some(log->size(), 50)));
      ASSERT_TRUE(log->publish());
    }
    for (const auto& f : std::filesystem::recursive_directory_iterator(folder_ + "/tile")) {
      if (f.path().string().find(".p/") != std::string::npos) overwrite(f.path().string(), "");
    }
    Expected known;
    known.kept = Expected::Kept{records, root};
    EXPECT_TRUE(open(65536, known)) << error_;
    known.kept->root[0] ^= 1;
    EXPECT_FALSE(open(65536, known));
    EXPECT_NE(error_.find("not those that were known"), std::string::npos) << error_;
    known.kept->size = 1'000'000;
    EXPECT_FALSE(open(65536, known));
    EXPECT_NE(error_.find("was known to have 1000000"), std::string::npos) << error_;
    if (records != 300) {
      // Before the journal's first record.
      known.kept = Expected::Kept{1000, mth(some(0, 1000))};
      EXPECT_TRUE(open(65536, known)) << error_;
      known.kept->root[0] ^= 1;
      EXPECT_FALSE(open(65536, known));
    }
    auto log = open(65536);
    ASSERT_TRUE(log->publish());
    ASSERT_TRUE(append(*log, some(log->size(), 1)));
    ASSERT_TRUE(log->publish());
    ASSERT_TRUE(check()) << check().error().message;
  }
}

// A refusal leaves everything as it is: it is evidence, and what is put back must fit.
TEST_F(AuditLog, ARefusalTouchesNothing) {
  std::string journal = folder_ + "/journal/00000000000000000000";
  {
    auto log = open();
    for (int i = 0; i < 10; ++i) ASSERT_TRUE(append(*log, some(i * 10, 10)));
    ASSERT_TRUE(log->publish());
  }
  std::string bad = contents(journal);
  bad[bad.size() / 2] ^= 1;
  overwrite(journal, bad);
  EXPECT_FALSE(open());
  EXPECT_EQ(contents(journal), bad);
  Expected known;
  known.judge = [](const LastChange&) { return Result<void>(fail(ErrorCode::kStore, "no")); };
  bad[bad.size() / 2] ^= 1;
  bad += "torn";
  overwrite(journal, bad);
  EXPECT_FALSE(open(Log::kJournalRecords, known));
  EXPECT_EQ(contents(journal), bad);
  EXPECT_TRUE(open()) << error_;
  EXPECT_EQ(contents(journal + ".cut"), "torn");
}

TEST_F(AuditLog, IsOpenOnce) {
  const auto log = open();
  EXPECT_FALSE(open());
  EXPECT_NE(error_.find("in use by another relay"), std::string::npos) << error_;
}

// After a failed sync the kernel shows what need not be on disk: it is written anew.
TEST_F(AuditLog, AJournalIsWrittenAnew) {
  const std::string journal = folder_ + "/journal/00000000000000000000";
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 10)));
    ASSERT_TRUE(log->sync());
  }
  struct stat before {
  }, after{};
  ASSERT_EQ(stat(journal.c_str(), &before), 0);
  Expected known;
  known.rewrite_journal = true;
  auto log = open(Log::kJournalRecords, known);
  ASSERT_TRUE(log) << error_;
  EXPECT_EQ(log->size(), 10u);
  ASSERT_EQ(stat(journal.c_str(), &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino);
  ASSERT_TRUE(append(*log, some(10, 1)));
  ASSERT_TRUE(log->publish());
  ASSERT_TRUE(check());
}

// Whatever a crash leaves of the last batch: the log goes on before it.
TEST_F(AuditLog, ATornBatchIsCutOff) {
  std::string journal;
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 40)));
    ASSERT_TRUE(log->publish());
    journal = folder_ + "/journal/00000000000000000000";
    const auto whole = std::filesystem::file_size(journal);
    ASSERT_TRUE(append(*log, some(40, 3)));
    ASSERT_EQ(std::filesystem::file_size(journal), whole + 32 + 3 * 128);
  }
  const std::string good = contents(journal);
  const size_t batch = 32 + 3 * 128;
  for (size_t cut = 1; cut <= batch; cut += 7) {
    overwrite(journal, good.substr(0, good.size() - cut));
    auto log = open();
    ASSERT_TRUE(log) << error_;
    EXPECT_EQ(log->size(), 40u) << cut;
  }
  for (size_t at = 0; at < batch; at += 5) {
    if (at >= 4 && at < 8) continue;  // zeros that nobody reads
    std::string bad = good;
    bad[bad.size() - batch + at] = static_cast<char>(bad[bad.size() - batch + at] ^ 0x40);
    overwrite(journal, bad);
    auto log = open();
    ASSERT_TRUE(log) << error_;
    EXPECT_EQ(log->size(), 40u) << at;
    // And what comes after it is not appended behind what is torn.
    ASSERT_TRUE(append(*log, some(100, 2)));
    log.reset();
    EXPECT_EQ(open()->size(), 42u);
  }
}

TEST_F(AuditLog, WhatWasSignedCannotBeTakenOutOfTheJournal) {
  std::string journal;
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 10)));
    ASSERT_TRUE(append(*log, some(10, 10)));
    ASSERT_TRUE(log->publish());
    journal = folder_ + "/journal/00000000000000000000";
  }
  const std::string good = contents(journal);
  overwrite(journal, good.substr(0, good.size() - 1));
  EXPECT_FALSE(open());
  EXPECT_NE(error_.find("signed with 20 records and holds 10"), std::string::npos) << error_;
  std::filesystem::remove(journal);
  EXPECT_FALSE(open());
  EXPECT_NE(error_.find("journal is missing"), std::string::npos) << error_;
}

// Another history of the same length, in a journal of its own.
TEST_F(AuditLog, AnotherHistoryIsNotSigned) {
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 10)));
    ASSERT_TRUE(log->publish());
  }
  const std::string note = contents(checkpoint_path(folder_));
  std::filesystem::remove_all(folder_ + "/journal");
  std::filesystem::remove_all(folder_ + "/tile");
  std::filesystem::remove(checkpoint_path(folder_));
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(5, 20)));
  }
  overwrite(checkpoint_path(folder_), note);
  EXPECT_FALSE(open());
  EXPECT_NE(error_.find("records were changed"), std::string::npos) << error_;
}

TEST_F(AuditLog, AKeyThatIsMissingIsNotMadeAnew) {
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 1)));
    ASSERT_TRUE(log->close());
  }
  std::filesystem::remove(key_path(folder_));
  EXPECT_FALSE(open());
  EXPECT_NE(error_.find("audit.key is missing"), std::string::npos) << error_;
}

TEST_F(AuditLog, JournalsBeginAnewAndOldOnesGo) {
  uint64_t size = 0;
  for (int round = 0; round < 3; ++round) {
    auto log = open(65536);
    ASSERT_TRUE(log) << error_;
    for (int i = 0; i < 100; ++i, size += 1000) ASSERT_TRUE(append(*log, some(size, 1000)));
    unsigned journals = 0;
    for ([[maybe_unused]] const auto& f : std::filesystem::directory_iterator(folder_ + "/journal"))
      ++journals;
    EXPECT_EQ(journals, 1u);
  }
  auto log = open(65536);
  ASSERT_TRUE(log) << error_;
  EXPECT_EQ(log->size(), 300'000u);
  ASSERT_TRUE(log->publish());
  const auto head = check();
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_EQ(head->root, mth(some(0, 300'000)));
}

// A journal that has nothing yet knows what came before it.
TEST_F(AuditLog, AStopAtAJournalsEndIsAStop) {
  for (const bool stopped : {true, false}) {
    {
      auto log = open(65536);
      ASSERT_TRUE(log) << error_;
      const uint64_t size = log->size();
      for (int i = 0; i < 65; ++i) ASSERT_TRUE(append(*log, some(size + 1000 * i, 1000)));
      auto rest = some(size + 65'000, 536);
      if (stopped) rest.back() = make_record({.kind = Kind::kClosed, .time_ms = 99});
      ASSERT_TRUE(append(*log, rest));
      ASSERT_EQ(log->size() % 65536, 0u);
      if (stopped) {
        ASSERT_TRUE(log->close());
      }
    }
    const auto log = open(65536);
    EXPECT_EQ(log->opened().crashed, !stopped);
    EXPECT_EQ(log->opened().last_ms, stopped ? 99u : 1'700'000'000'000u + 131'071u);
  }
}

TEST_F(AuditLog, TheLastChangeIsKnownWithoutOpeningIt) {
  EXPECT_FALSE(*last_change_of(folder_));
  const Change change{.sequence = 7, .at_ms = 1, .actor = "uid 0", .kind = "tenant_added"};
  {
    auto log = open(65536);
    ASSERT_TRUE(append(*log, some(0, 10)));
    const Record r = record_of(change);
    ASSERT_TRUE(append(*log, std::span(&r, 1)));
    EXPECT_EQ(log->last_change().sequence, 7u);
    for (int i = 0; i < 70; ++i) ASSERT_TRUE(append(*log, some(0, 1000)));  // into another journal
  }
  const auto last = last_change_of(folder_);
  ASSERT_TRUE(last && *last);
  EXPECT_EQ((*last)->sequence, 7u);
  EXPECT_EQ((*last)->digest, digest_of(change));
  EXPECT_EQ((**last_change_of(folder_, 7)).sequence, 7u);
  EXPECT_FALSE(*last_change_of(folder_, 6));
}

}  // namespace
}  // namespace sluice::audit
