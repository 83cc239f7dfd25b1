// What may stay of a log: by age and by size, at the bounds; and that whatever is done to what is
// kept after pruning is found.
#include "audit_fixture.h"

#include <random>
#include <set>

#include <fmt/format.h>

#include "audit/log_files.h"
#include "audit/retention.h"

namespace sluice::audit {
namespace {

namespace fs = std::filesystem;

class AuditRetention : public AuditFolder {
 protected:
  AuditRetention() : AuditFolder("/dev/shm") {}
  void fill(uint64_t records) {
    log_ = open(65536);
    ASSERT_TRUE(log_) << error_;
    ASSERT_TRUE(append(*log_, some(0, records)));
    ASSERT_TRUE(log_->publish());
  }
  std::optional<Cut> cut(const Retention& r, uint64_t now_ms, uint64_t first = 0) {
    FolderSource source(folder_);
    const auto out = wanted_cut(source, r, first, log_->size(), now_ms);
    EXPECT_TRUE(out) << out.error().message;
    return out ? *out : std::nullopt;
  }
  uint64_t to(const Retention& r, uint64_t now_ms, uint64_t first = 0) {
    const auto c = cut(r, now_ms, first);
    return c ? c->to : first;
  }
  static uint64_t time_of(uint64_t n) { return header_of(numbered(n)).time_ms; }
  std::unique_ptr<Log> log_;
};

TEST_F(AuditRetention, BySize) {
  fill(2000);
  const auto bytes = [](uint64_t records) { return Retention{0, records * kBytesOnDisk}; };
  EXPECT_FALSE(cut({}, UINT64_MAX)) << "everything stays";
  EXPECT_FALSE(cut(bytes(2000), 0));
  EXPECT_EQ(to(bytes(1999), 0), 256u) << "whole bundles: what stays is no more than was said";
  EXPECT_EQ(to(bytes(2000 - 256), 0), 256u);
  EXPECT_EQ(to(bytes(2000 - 257), 0), 512u);
  EXPECT_EQ(to({0, 1}, 0), 1792u) << "the last bundle stays";
  EXPECT_FALSE(cut(bytes(1500), 0, 512));
  EXPECT_EQ(to(bytes(1400), 0, 512), 768u);
  EXPECT_EQ(cut(bytes(1999), 0)->why, Prune::kBytes);
  EXPECT_EQ(cut(bytes(1999), 0)->limit, 1999 * kBytesOnDisk);
}

TEST_F(AuditRetention, ByAge) {
  fill(2000);
  const Retention r{1000, 0};
  // A bundle goes when its last record is older.
  EXPECT_FALSE(cut(r, time_of(255) + 1000));
  EXPECT_EQ(to(r, time_of(255) + 1001), 256u);
  EXPECT_EQ(to(r, time_of(511) + 1000), 256u);
  EXPECT_EQ(to(r, time_of(511) + 1001), 512u);
  EXPECT_EQ(to(r, time_of(2000) * 2), 1792u) << "the last bundle stays";
  EXPECT_FALSE(cut(r, 999)) << "a clock that is younger than that";
  for (uint64_t first = 0; first < 1792; first += 256) {
    for (uint64_t bundle = 0; bundle < 8; ++bundle) {
      const uint64_t expected = std::min<uint64_t>(bundle * 256, 1792);
      EXPECT_EQ(to(r, time_of(bundle * 256) + 1000, first), std::max(first, expected));
    }
  }
  EXPECT_EQ(cut(r, time_of(600) + 1000)->why, Prune::kAge);
  EXPECT_EQ(cut(r, time_of(600) + 1000)->limit, 1000u);
  // Where the file that says what is gone was lost.
  for (uint64_t i = 0; i < 3; ++i) fs::remove(file({std::nullopt, i}));
  EXPECT_EQ(to(r, time_of(1100) + 1000), 1024u);
  EXPECT_EQ(to(r, time_of(300) + 1000), 768u);
}

TEST_F(AuditRetention, WhateverAsksForMore) {
  fill(2000);
  const Retention both{1000, 1000 * kBytesOnDisk};
  EXPECT_EQ(cut(both, time_of(300) + 1000)->why, Prune::kBytes);
  EXPECT_EQ(cut(both, time_of(300) + 1000)->to, 1024u);
  EXPECT_EQ(cut(both, time_of(1300) + 1000)->why, Prune::kAge);
  EXPECT_EQ(cut(both, time_of(1300) + 1000)->to, 1280u);
}

// Notes what a check asks for.
class Asked : public FolderSource {
 public:
  using FolderSource::FolderSource;
  Result<std::string> read(const Tile& tile) override {
    auto out = FolderSource::read(tile);
    if (out) files.insert(path_of(tile));
    return out;
  }
  std::set<std::string> files;
};

// Thousands of lies, each of one kind in one place of a pruned log.
TEST_F(AuditRetention, WhateverIsDoneToAPrunedLogIsFound) {
  log_ = open(65536);
  for (int i = 0; i < 70; ++i) ASSERT_TRUE(append(*log_, some(1000 * i, 1000)));
  ASSERT_TRUE(log_->rotate_soon());
  ASSERT_TRUE(append(*log_, some(0, 700)));
  ASSERT_TRUE(log_->publish());
  ASSERT_TRUE(log_->prune(Prune::kBytes, 66'048, 1, 1));
  while (log_->removing()) ASSERT_TRUE(log_->remove_some(100));
  ASSERT_TRUE(append(*log_, some(0, 50)));
  ASSERT_TRUE(log_->publish());
  Asked source(folder_);
  ASSERT_TRUE(check_log(source, verifier(), {}));
  const std::vector<std::string> files(source.files.begin(), source.files.end());
  ASSERT_GT(files.size(), 30u);
  const auto why = [&] {
    const auto r = check();
    return r ? std::string() : r.error().message;
  };
  std::mt19937_64 random(7);
  for (int i = 0; i < 600; ++i) {
    const std::string name = files[random() % files.size()];
    const std::string path = folder_ + "/" + name;
    const bool entries = name.starts_with("tile/entries/");
    const std::string good = contents(path);
    const size_t each = entries ? 130 : 32;
    const size_t n = good.size() / each;
    const size_t a = random() % n, b = random() % n;
    std::string bad = good;
    const char* what = "";
    switch (random() % 4) {
      case 0:
        what = "changed";
        bad[random() % bad.size()] ^= static_cast<char>(1 + random() % 255);
        break;
      case 1:
        what = "taken out";
        bad.erase(a * each, each);
        break;
      case 2:
        what = "put elsewhere";
        std::swap_ranges(bad.begin() + static_cast<ptrdiff_t>(a * each),
                         bad.begin() + static_cast<ptrdiff_t>((a + 1) * each),
                         bad.begin() + static_cast<ptrdiff_t>(b * each));
        break;
      default:
        what = "gone";
        bad.clear();
    }
    if (bad == good) continue;
    if (bad.empty()) {
      fs::remove(path);
    } else {
      overwrite(path, bad);
    }
    const std::string found = why();
    EXPECT_NE(found, "") << what << ": " << name << " " << a << " " << b;
    if (bad.empty()) {
      const std::string_view of = std::string_view(name).substr(0, name.find(".p"));
      EXPECT_NE(found.find(std::string(of) + " of the audit log, with "), std::string::npos)
          << found;
      EXPECT_NE(found.find("it was removed"), std::string::npos) << found;
    }
    overwrite(path, good);
  }
  ASSERT_EQ(why(), "");
  // What says it.
  const std::string said = contents(pruned_path(folder_));
  fs::remove(pruned_path(folder_));
  EXPECT_NE(
      why().find(
          "tile/entries/000 of the audit log, with records 0 to 255, is missing, and no record"),
      std::string::npos)
      << why();
  for (const char* text : {"", "70656\n", "66048\n", "66047\n", "999999\n", "x"}) {
    overwrite(pruned_path(folder_), text);
    EXPECT_NE(why(), "") << text;
  }
  overwrite(pruned_path(folder_), said);
  EXPECT_EQ(why(), "");
}

}  // namespace
}  // namespace sluice::audit
