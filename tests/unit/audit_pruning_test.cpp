// Logs that forget: that what is gone is said before it goes, whatever happens in between, and that
// what is kept is verified as if all were there.
#include "audit_fixture.h"

#include <atomic>
#include <random>
#include <set>
#include <thread>

#include "audit/log_files.h"

namespace sluice::audit {
namespace {

namespace fs = std::filesystem;

class AuditPruning : public AuditFolder {
 protected:
  AuditPruning() : AuditFolder("/dev/shm") {}
  // Records that are all in the tiles, before a journal that has nothing yet: whole bundles.
  std::unique_ptr<Log> filled(uint64_t bundles) {
    auto log = open(65536);
    EXPECT_TRUE(log) << error_;
    fill(*log, bundles * kTileWidth);
    EXPECT_TRUE(log->rotate_soon());
    EXPECT_EQ(log->journal_base(), log->size());
    return log;
  }
  static void fill(Log& log, uint64_t size) {
    while (log.size() < size) {
      ASSERT_TRUE(append(log, some(log.size(), std::min<uint64_t>(1000, size - log.size()))));
    }
  }
  static void remove_all(Log& log) {
    while (log.removing()) ASSERT_TRUE(log.remove_some(1));
  }
  // What it holds, and from where on; "" where it verifies.
  std::string verify() {
    indexes_.clear();
    pruned_ = {};
    const auto head = check({.record = [&](uint64_t i, const Record&) { indexes_.push_back(i); },
                             .pruned = [&](const Pruned& p) { pruned_ = p; }});
    if (head) head_ = *head;
    return head ? "" : head.error().message;
  }
  // How many bundles there are files of.
  unsigned bundles() const {
    unsigned out = 0;
    for (uint64_t i = 0; i < 5000; ++i) {
      out += exists(file({std::nullopt, i})) && exists(file({0, i})) ? 1 : 0;
    }
    return out;
  }
  void copy(const std::string& from, const std::string& to) {
    fs::remove_all(to);
    fs::copy(from, to, fs::copy_options::recursive);
  }

  std::vector<uint64_t> indexes_;
  Pruned pruned_;
  Checkpoint head_;
};

TEST_F(AuditPruning, WhatIsGoneIsSaidFirst) {
  auto log = filled(12);
  EXPECT_EQ(log->first(), 0u);
  ASSERT_TRUE(log->prune(Prune::kAge, 8 * 256, 3'600'000, 77));
  EXPECT_EQ(log->first(), 8u * 256);
  EXPECT_EQ(log->published().size, 12u * 256 + 1) << "signed before anything goes";
  EXPECT_EQ(bundles(), 12u);
  ASSERT_EQ(verify(), "");
  remove_all(*log);
  EXPECT_EQ(bundles(), 4u);
  EXPECT_FALSE(exists(file({std::nullopt, 7})) || exists(file({0, 7})));
  EXPECT_TRUE(exists(file({std::nullopt, 8})) && exists(file({0, 8})));
  ASSERT_EQ(verify(), "");
  EXPECT_EQ(indexes_.front(), 8u * 256);
  EXPECT_EQ(indexes_.size(), 4u * 256 + 1);
  EXPECT_EQ(pruned_.record, 12u * 256);
  EXPECT_EQ(pruned_.what, (Pruning{Prune::kAge, 77, 0, 8 * 256, 3'600'000}));
  EXPECT_EQ(contents(pruned_path(folder_)), "3072\n");

  FolderSource source(folder_);
  for (const uint64_t index : {8u * 256, 12u * 256}) {
    Record record;
    uint64_t read = 0;
    const auto proof = prove(source, verifier(), index, record);
    ASSERT_TRUE(proof) << proof.error().message;
    EXPECT_TRUE(check_proof(*proof, verifier(), record, read));
  }
  Record record;
  const auto none = prove(source, verifier(), 8 * 256 - 1, record);
  EXPECT_EQ(none.error().code, ErrorCode::kNotFound);
  EXPECT_NE(none.error().message.find("begins with record 2048, as record 3072 says"),
            std::string::npos)
      << none.error().message;
}

// The record that explained the first time is gone itself by the second.
TEST_F(AuditPruning, TheLastRecordExplainsAll) {
  auto log = filled(4);
  uint64_t known = 0;
  for (unsigned round = 1; round <= 5; ++round) {
    const uint64_t to = log->journal_base();
    known = log->size();
    ASSERT_TRUE(log->prune(Prune::kBytes, to, round, 1000 + round));
    remove_all(*log);
    ASSERT_EQ(verify(), "");
    EXPECT_EQ(pruned_.record, known);
    EXPECT_EQ(pruned_.what.to, to);
    fill(*log, log->size() - log->size() % 256 + 4 * 256);
    ASSERT_TRUE(log->rotate_soon());
    log.reset();
    log = open(65536);
    ASSERT_TRUE(log) << error_;
    EXPECT_EQ(log->first(), to);
    remove_all(*log);
  }
  EXPECT_GT(log->first(), 4u * 256 + 1);
}

TEST_F(AuditPruning, NothingThatIsNeededGoes) {
  auto log = open(65536);
  fill(*log, 2000);
  ASSERT_TRUE(log->publish());
  EXPECT_EQ(log->prunable(), 0u) << "all of it is in the journal";
  EXPECT_EQ(log->prune(Prune::kAge, 256, 1, 1).error().code, ErrorCode::kInternal);
  // Armed, and at the next whole bundle.
  ASSERT_TRUE(log->rotate_soon());
  EXPECT_EQ(log->journal_base(), 0u);
  fill(*log, 2047);
  EXPECT_EQ(log->journal_base(), 0u);
  fill(*log, 2100);
  EXPECT_EQ(log->journal_base(), 2048u);
  EXPECT_EQ(log->prunable(), 2048u);
  for (const uint64_t to : {0u, 100u, 2304u}) {
    EXPECT_EQ(log->prune(Prune::kAge, to, 1, 1).error().code, ErrorCode::kInternal) << to;
  }
  ASSERT_TRUE(log->prune(Prune::kAge, 1024, 1, 1));
  EXPECT_EQ(log->prune(Prune::kAge, 1280, 1, 1).error().code, ErrorCode::kInternal)
      << "before the last one is done";
  remove_all(*log);
  EXPECT_EQ(log->prune(Prune::kAge, 1024, 1, 1).error().code, ErrorCode::kInternal);
  ASSERT_EQ(verify(), "");
}

// A relay that is killed at any step: what is missing is explained, and the rest follows.
TEST_F(AuditPruning, AtEveryStepACrashLeavesALogThatVerifies) {
  const auto stop_at = [&](const std::string& what, bool said, const auto& prepare) {
    SCOPED_TRACE(what);
    fs::remove_all(folder_);
    {
      auto log = filled(12);
      ASSERT_TRUE(append(*log, some(log->size(), 10)));
      ASSERT_TRUE(log->publish());
      prepare(*log);
    }
    EXPECT_EQ(verify(), "") << "as it was left";
    for (const bool power : {false, true}) {
      SCOPED_TRACE(power);
      copy(folder_, folder_ + ".as-left");
      if (power) {  // partial tiles need not be on disk
        for (const auto& f : fs::recursive_directory_iterator(folder_ + "/tile")) {
          if (f.path().string().find(".p/") != std::string::npos) overwrite(f.path(), "");
        }
      }
      {
        auto log = open(65536);
        ASSERT_TRUE(log) << error_;
        EXPECT_TRUE(log->opened().crashed);
        ASSERT_TRUE(append(*log, some(0, 1)));  // that there was a crash
        ASSERT_TRUE(log->publish());
        EXPECT_EQ(log->first(), said ? 8u * 256 : 0u);
        EXPECT_EQ(verify(), "");
        remove_all(*log);
        EXPECT_EQ(verify(), "");
        EXPECT_EQ(bundles(), said ? 4u : 12u);
        EXPECT_EQ(pruned_.first(), log->first());
        // And the next time is one like any other.
        ASSERT_TRUE(log->prune(Prune::kBytes, 9 * 256, 5, 6));
        remove_all(*log);
        EXPECT_EQ(bundles(), 3u);
        EXPECT_EQ(verify(), "");
        EXPECT_EQ(pruned_.what, (Pruning{Prune::kBytes, 6, said ? 8u * 256 : 0, 9 * 256, 5}));
      }
      copy(folder_ + ".as-left", folder_);
    }
  };
  const Record record = record_of(Pruning{Prune::kAge, 5, 0, 8 * 256, 1});
  const auto prune = [](Log& log) { ASSERT_TRUE(log.prune(Prune::kAge, 8 * 256, 1, 5)); };
  stop_at("not a byte of the record", false, [](Log&) {});
  stop_at("a part of the record in the journal", false, [&](Log& log) {
    ASSERT_TRUE(append(log, std::span(&record, 1)));
    ASSERT_TRUE(log.sync());
    const std::string journal = journals_in(folder_)[0];
    fs::resize_file(journal, fs::file_size(journal) - 3);
  });
  stop_at("the record, not signed", true, [&](Log& log) {
    ASSERT_TRUE(append(log, std::span(&record, 1)));
    ASSERT_TRUE(log.sync());
  });
  stop_at("signed, not named", true, [&](Log& log) {
    prune(log);
    fs::remove(pruned_path(folder_));
  });
  stop_at("named by a file that is not in place", true, [&](Log& log) {
    prune(log);
    fs::rename(pruned_path(folder_), pruned_path(folder_) + ".new");
  });
  stop_at("named", true, prune);
  for (unsigned n = 1; n <= 8; ++n) {
    stop_at(fmt::format("{} bundles gone", n), true, [&](Log& log) {
      prune(log);
      ASSERT_TRUE(log.remove_some(n));
    });
    stop_at(fmt::format("{} bundles gone, and half of one", n - 1), true, [&](Log& log) {
      prune(log);
      const std::string hashes = contents(file({0, n - 1}));
      ASSERT_TRUE(log.remove_some(n));
      overwrite(file({0, n - 1}), hashes);
    });
  }
}

// The journal begins anew behind the record before the file names it: nothing was removed, and
// nothing is.
TEST_F(AuditPruning, ARecordThatWasNeverNamedHasRemovedNothing) {
  {
    auto log = filled(8);
    const Record record = record_of(Pruning{Prune::kAge, 5, 0, 4 * 256, 1});
    ASSERT_TRUE(append(*log, std::span(&record, 1)));
    fill(*log, 9 * 256);
    ASSERT_TRUE(log->rotate_soon());
  }
  fs::remove(pruned_path(folder_));
  auto log = open(65536);
  EXPECT_EQ(log->first(), 0u);
  EXPECT_EQ(verify(), "");
  EXPECT_EQ(indexes_.size(), 9u * 256);
  // A file that names nothing of the kind is as good as none.
  for (const char* text : {"", "x\n", "5\n", "999999999\n", "18446744073709551616\n", "-1\n"}) {
    log.reset();
    overwrite(pruned_path(folder_), text);
    log = open(65536);
    ASSERT_TRUE(log) << error_;
    EXPECT_EQ(log->first(), 0u) << text;
    EXPECT_NE(verify().find("`pruned`"), std::string::npos) << verify();
  }
  ASSERT_TRUE(log->prune(Prune::kAge, 5 * 256, 1, 1));
  EXPECT_EQ(verify(), "");
}

TEST_F(AuditPruning, WhatStandsInTheWayIsSaidAndTriedAgain) {
  auto log = filled(8);
  ASSERT_TRUE(log->prune(Prune::kAge, 6 * 256, 1, 1));
  const std::string third = file({std::nullopt, 3});
  const std::string content = contents(third);
  fs::remove(third);
  fs::create_directory(third);
  EXPECT_NE(log->remove_some(8).error().message.find("tile/entries/003"), std::string::npos);
  EXPECT_FALSE(log->broken());
  EXPECT_TRUE(exists(file({std::nullopt, 4})));
  fs::remove(third);
  overwrite(third, content);
  remove_all(*log);
  EXPECT_EQ(bundles(), 2u);
  EXPECT_EQ(verify(), "");
}

TEST_F(AuditPruning, EmptyFoldersGo) {
  auto log = filled(2100);
  ASSERT_TRUE(log->prune(Prune::kAge, 2050 * 256, 1, 1));
  ASSERT_TRUE(log->remove_some(1999));
  EXPECT_TRUE(exists(folder_ + "/tile/entries/x001"));
  remove_all(*log);
  EXPECT_FALSE(exists(folder_ + "/tile/entries/x001"));
  EXPECT_FALSE(exists(folder_ + "/tile/0/x001"));
  EXPECT_TRUE(exists(folder_ + "/tile/entries/x002/050"));
  EXPECT_FALSE(exists(folder_ + "/tile/entries/x002/049"));
  EXPECT_EQ(bundles(), 50u);
  EXPECT_EQ(verify(), "");
  EXPECT_EQ(indexes_.front(), 2050u * 256);
}

// After pruning as before, an earlier checkpoint is compared where its hashes are there: from the
// first record that is kept on, and at every bundle's edge.
TEST_F(AuditPruning, EarlierCheckpointsAreCompared) {
  std::vector<Checkpoint> then;
  auto log = open(65536);
  for (const uint64_t size : {3u, 256u, 300u, 1024u, 2048u, 2049u, 3000u}) {
    fill(*log, size);
    ASSERT_TRUE(log->publish());
    then.push_back(log->published());
  }
  fill(*log, 3072);
  ASSERT_TRUE(log->rotate_soon());
  ASSERT_TRUE(log->prune(Prune::kAge, 2048, 1, 1));
  remove_all(*log);
  for (Checkpoint c : then) {
    const bool comparable = c.size % 256 == 0 || c.size > 2048;
    const auto good = check({.earlier = c});
    EXPECT_EQ(good.has_value(), comparable) << c.size;
    if (!comparable) {
      EXPECT_EQ(good.error().code, ErrorCode::kOutdated);
      EXPECT_NE(good.error().message.find("cannot be compared"), std::string::npos);
      continue;
    }
    c.root[3] ^= 1;
    const auto bad = check({.earlier = c});
    ASSERT_FALSE(bad) << c.size;
    EXPECT_EQ(bad.error().code, ErrorCode::kStore);
    EXPECT_NE(bad.error().message.find("written anew"), std::string::npos);
  }
}

// What the store knows of the log is found in the tiles at the journal's beginning, and in the
// journal where a power loss took these.
TEST_F(AuditPruning, AShorterLogIsRecognisedAcrossAJournalsBeginning) {
  Hash at_300{}, at_4096{};
  {
    auto log = open(65536);
    fill(*log, 300);
    at_300 = log->root();
    fill(*log, 4096);
    at_4096 = log->root();
    ASSERT_TRUE(log->rotate_soon());
    ASSERT_EQ(log->journal_base(), 4096u);
    fill(*log, 4500);
    ASSERT_TRUE(log->publish());
    ASSERT_TRUE(log->prune(Prune::kAge, 256, 1, 1));
    remove_all(*log);
  }
  for (const auto& f : fs::recursive_directory_iterator(folder_ + "/tile")) {
    if (f.path().string().find(".p/") != std::string::npos) overwrite(f.path(), "");
  }
  Expected known;
  for (const auto& [size, root] : {std::pair{300u, at_300}, std::pair{4096u, at_4096}}) {
    known.kept = Expected::Kept{size, root};
    EXPECT_TRUE(open(65536, known)) << error_;
    known.kept->root[0] ^= 1;
    EXPECT_FALSE(open(65536, known));
  }
  // Of before what was pruned nothing can be told but at a bundle's edge.
  known.kept = Expected::Kept{100, at_300};
  EXPECT_FALSE(open(65536, known));
  EXPECT_NE(error_.find("has pruned its records before 256"), std::string::npos) << error_;
}

// Whatever is signed for is there when the journal begins anew, and the checkpoint is of that size.
TEST_F(AuditPruning, ACheckpointIsSignedWhenTheJournalBeginsAnew) {
  for (const uint64_t size : {65536u, 65536u + 512u}) {
    auto log = open(65536);
    ASSERT_TRUE(log) << error_;
    if (size != 65536) {
      ASSERT_TRUE(log->rotate_soon());
    }
    fill(*log, size);
    const std::string note = contents(checkpoint_path(folder_));
    const auto head = open_note(note, verifier());
    ASSERT_TRUE(head);
    // The second time at the first bundle that was whole.
    EXPECT_EQ(head->size, size == 65536 ? size : 65536u + 256);
    EXPECT_EQ(journals_in(folder_), std::vector{journal_path(folder_, head->size)});
    EXPECT_EQ(verify(), "");
    EXPECT_EQ(head_.size, head->size);
  }
}

// One reader after the other, while records come and go.
TEST_F(AuditPruning, IsReadWhileItIsPruned) {
  auto log = filled(40);
  std::atomic<bool> done{false};
  std::atomic<unsigned> read{0};
  std::set<std::string> why;
  std::thread reader([&] {
    const Verifier v = verifier();
    while (!done) {
      FolderSource source(folder_);
      uint64_t next = UINT64_MAX;
      const auto head = check_log(source, v, {.record = [&](uint64_t i, const Record&) {
                                    EXPECT_TRUE(next == UINT64_MAX || i >= next);
                                    next = i + 1;
                                  }});
      if (!head && head.error().code != ErrorCode::kOutdated) why.insert(head.error().message);
      if (head) ++read;
    }
  });
  for (unsigned round = 0; round < 150 || (read < 20 && round < 5000); ++round) {
    fill(*log, log->size() + 2 * 256 - log->size() % 256);
    ASSERT_TRUE(log->rotate_soon());
    ASSERT_TRUE(append(*log, some(0, 7)));
    ASSERT_TRUE(log->publish());
    ASSERT_TRUE(log->prune(Prune::kBytes, log->journal_base() - 8 * 256, 1, 1));
    remove_all(*log);
  }
  done = true;
  reader.join();
  EXPECT_GE(read, 20u);
  EXPECT_EQ(why, std::set<std::string>{});
}

}  // namespace
}  // namespace sluice::audit
