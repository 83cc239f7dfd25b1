// The replay window against a set of numbers that remembers everything.
#include "fabric/replay_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <set>

namespace sluice::fabric {
namespace {

constexpr uint64_t kTop = uint64_t{1} << 56;  // sequences end below it

// The window by its definition: the last 2,048 sequences below the highest seen.
class Model {
 public:
  ReplayVerdict check(uint64_t s) const {
    if (!seen_.empty() && s + ReplayWindow::kSize <= *seen_.rbegin()) return ReplayVerdict::kTooOld;
    return seen_.count(s) != 0 ? ReplayVerdict::kReplay : ReplayVerdict::kFresh;
  }
  ReplayVerdict commit(uint64_t s, bool& is_highest) {
    is_highest = seen_.empty() || s > *seen_.rbegin();
    const auto verdict = check(s);
    if (verdict == ReplayVerdict::kFresh) seen_.insert(s);
    // Older ones answer kTooOld by the highest alone, so they need not be kept.
    while (*seen_.rbegin() - *seen_.begin() > 2 * ReplayWindow::kSize) seen_.erase(seen_.begin());
    return verdict;
  }
  uint64_t next() const { return seen_.empty() ? 0 : *seen_.rbegin() + 1; }
  void reset() { seen_.clear(); }

 private:
  std::set<uint64_t> seen_;
};

ReplayVerdict commit(ReplayWindow& w, uint64_t s) {
  bool unused = false;
  return w.commit(s, unused);
}

class ReplayWindowModel : public testing::TestWithParam<int> {};

TEST_P(ReplayWindowModel, SameAnswersOverRandomSequences) {
  std::mt19937_64 random(static_cast<uint64_t>(GetParam()));
  ReplayWindow window;
  Model model;
  size_t verdicts[3] = {}, jumps = 0;
  for (int step = 0; step < 100'000; ++step) {
    const uint64_t next = model.next();
    uint64_t s = 0;
    switch (random() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        s = next;
        break;  // in order
      case 5:
      case 6:
      case 7:
        s = next + random() % 8;
        break;  // small loss
      case 8:
      case 9:
      case 10:
        s = next - std::min(next, random() % 64);
        break;  // reordered
      case 11:
        s = next - std::min(next, random() % 2200);
        break;  // anywhere in it
      case 12:
        s = next - std::min(next, 2040 + random() % 20);
        break;  // its lower edge
      case 13:
        s = random() % 64 == 0 ? next + random() % 5000 : next;
        break;  // beyond the window
      case 14:
        s = random() % 256 == 0 ? next + (random() % (uint64_t{1} << 40)) : next;
        break;
      default:
        s = random() % (next + 1);
        break;  // mostly too old
    }
    if (random() % 20'000 == 0) s = kTop - 1 - random() % 5000;
    s = std::min(s, kTop - 1);
    jumps += s > next + ReplayWindow::kSize;
    ASSERT_EQ(int(window.check(s)), int(model.check(s))) << "step " << step << ", sequence " << s;
    bool highest = false, expected_highest = false;
    const auto got = window.commit(s, highest);
    const auto expected = model.commit(s, expected_highest);
    ASSERT_EQ(int(got), int(expected)) << "step " << step << ", sequence " << s;
    ASSERT_EQ(highest, expected_highest) << "step " << step << ", sequence " << s;
    ASSERT_EQ(window.next(), model.next());
    ++verdicts[size_t(got)];
    if (model.next() >= kTop - 10 || random() % 30'000 == 0) {
      window.reset();
      model.reset();
      ASSERT_EQ(window.next(), 0u);
    }
  }
  for (size_t v : verdicts) EXPECT_GT(v, 1000u) << "every verdict has to be common here";
  EXPECT_GT(jumps, 10u);
}

INSTANTIATE_TEST_SUITE_P(Seeds, ReplayWindowModel, testing::Range(1, 13));

// Exhaustive around block borders: after one jump, each sequence of the window exactly once.
TEST(ReplayWindow, EachSequenceOfTheWindowOnceFromEveryAlignment) {
  for (uint64_t start = 0; start < 130; ++start) {
    auto window = std::make_unique<ReplayWindow>();
    for (uint64_t s = 0; s < 2500; ++s) commit(*window, s);  // every block dirty
    const uint64_t top = 2500 + 2100 + start;
    ASSERT_EQ(commit(*window, top), ReplayVerdict::kFresh);
    for (uint64_t s = top - 2047; s < top; ++s) {
      ASSERT_EQ(window->check(s), ReplayVerdict::kFresh) << start << " " << s;
      ASSERT_EQ(commit(*window, s), ReplayVerdict::kFresh) << start << " " << s;
      ASSERT_EQ(commit(*window, s), ReplayVerdict::kReplay) << start << " " << s;
    }
    ASSERT_EQ(commit(*window, top - 2048), ReplayVerdict::kTooOld);
  }
}

TEST(ReplayWindow, Edges) {
  // Distances below the highest sequence: 2047 is the oldest inside.
  for (uint64_t top : {uint64_t{2048}, uint64_t{2049}, uint64_t{4095}, uint64_t{4096},
                       uint64_t{1000003}, kTop - 1}) {
    for (const auto& [distance, expected] : {std::pair{uint64_t{2046}, ReplayVerdict::kFresh},
                                             std::pair{uint64_t{2047}, ReplayVerdict::kFresh},
                                             std::pair{uint64_t{2048}, ReplayVerdict::kTooOld},
                                             std::pair{uint64_t{2049}, ReplayVerdict::kTooOld}}) {
      if (distance > top) continue;
      ReplayWindow window;
      ASSERT_EQ(commit(window, top), ReplayVerdict::kFresh);
      EXPECT_EQ(window.check(top - distance), expected) << top << " - " << distance;
      bool highest = true;
      EXPECT_EQ(window.commit(top - distance, highest), expected) << top << " - " << distance;
      EXPECT_FALSE(highest);
    }
  }
}

TEST(ReplayWindow, FirstSequenceIsZeroAndDuplicatesAreToldOnce) {
  ReplayWindow window;
  EXPECT_EQ(window.next(), 0u);
  bool highest = false;
  EXPECT_EQ(window.check(0), ReplayVerdict::kFresh);
  EXPECT_EQ(window.commit(0, highest), ReplayVerdict::kFresh);
  EXPECT_TRUE(highest);
  EXPECT_EQ(window.check(0), ReplayVerdict::kReplay);
  EXPECT_EQ(window.commit(0, highest), ReplayVerdict::kReplay);
  EXPECT_FALSE(highest) << "a duplicate is not a new maximum";
  EXPECT_EQ(window.next(), 1u);
}

// Two copies in one burst both pass the check before either is committed.
TEST(ReplayWindow, CommitDecidesWhatCheckLetThroughTwice) {
  ReplayWindow window;
  EXPECT_EQ(window.check(70), ReplayVerdict::kFresh);
  EXPECT_EQ(window.check(70), ReplayVerdict::kFresh);
  EXPECT_EQ(commit(window, 70), ReplayVerdict::kFresh);
  EXPECT_EQ(commit(window, 70), ReplayVerdict::kReplay);
}

TEST(ReplayWindow, TheLastSequences) {
  ReplayWindow window;
  for (uint64_t s = kTop - 3000; s < kTop; ++s) ASSERT_EQ(commit(window, s), ReplayVerdict::kFresh);
  for (uint64_t s = kTop - 2048; s < kTop; ++s)
    ASSERT_EQ(commit(window, s), ReplayVerdict::kReplay);
  EXPECT_EQ(commit(window, kTop - 2049), ReplayVerdict::kTooOld);
  EXPECT_EQ(commit(window, 0), ReplayVerdict::kTooOld);
  EXPECT_EQ(window.next(), kTop);
}

TEST(ReplayWindow, CheckChangesNothing) {
  ReplayWindow window;
  for (uint64_t s : {uint64_t{5}, uint64_t{5000}, kTop - 1})
    EXPECT_EQ(window.check(s), ReplayVerdict::kFresh);
  EXPECT_EQ(window.next(), 0u);
  EXPECT_EQ(commit(window, 5), ReplayVerdict::kFresh);
}

TEST(ReplayWindow, ResetForgetsEverything) {
  ReplayWindow window;
  for (uint64_t s = 0; s < 5000; ++s) commit(window, s);
  window.reset();
  EXPECT_EQ(window.next(), 0u);
  for (uint64_t s = 0; s < 5000; ++s) ASSERT_EQ(commit(window, s), ReplayVerdict::kFresh) << s;
}

}  // namespace
}  // namespace sluice::fabric
