// What a stranger learns by guessing: nothing, in bytes and in time.
#include "control/directory.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <random>

#include <gtest/gtest.h>

#include "welch.h"

namespace {

using namespace sluice;
using timing::kSuspicious;

constexpr size_t kGuesses = 100'000;  // of each class

struct Guesses : ::testing::Test {
  Clock clock;
  std::unique_ptr<fabric::Arena> arena = std::move(*fabric::Arena::create(
      {.agents = 4096, .edges = 32, .sessions = 2, .tenants = 4}, fabric::PageKind::kSmall));
  control::TrustTable table{*arena, clock};
  std::optional<control::AgentPace> pace{clock};
  std::string folder = [] {
    char name[] = "/tmp/directory_test.XXXXXX";
    return std::string(mkdtemp(name));
  }();
  std::unique_ptr<control::Store> store =
      std::move(*control::Store::open(folder + "/state", [](std::function<void()>) {}));
  std::optional<control::Directory> directory{std::in_place, clock, table, *store, *pace};
  uint32_t enrolled = 0;

  ~Guesses() override {
    store.reset();
    std::filesystem::remove_all(folder);
  }

  uint32_t enrol(const std::string& name, uint16_t tenant, control::Visibility visibility) {
    control::AgentRow row;
    store_le(row.identity.data(), ++enrolled);
    row.tenant = tenant;
    row.node = enrolled;
    row.name = name;
    row.source = control::AgentSource::kToken;
    row.visibility = visibility;
    EXPECT_TRUE(table.enrol(row));
    return enrolled - 1;
  }

  // Answers of all classes, asked for in a random order; the times in ticks. `held` waits a
  // microsecond before it asks. What the test itself does is the same for every class.
  void ask(uint32_t asker,
           const std::vector<std::pair<std::string, std::function<pb::Lookup()>>>& of,
           const std::string& held, std::map<std::string, std::vector<double>>& times) {
    std::vector<uint8_t> order;
    std::vector<std::vector<pb::Lookup>> guesses(of.size());
    std::vector<std::vector<double>> taken(of.size());
    size_t planted = of.size();
    for (size_t c = 0; c < of.size(); ++c) {
      order.insert(order.end(), kGuesses, uint8_t(c));
      for (unsigned n = 0; n < 1000; ++n) guesses[c].push_back(of[c].second());
      taken[c].reserve(kGuesses);
      if (of[c].first == held) planted = c;
    }
    std::mt19937_64 random(1);
    std::shuffle(order.begin(), order.end(), random);
    size_t answered = 0, different = 0;
    // Answers that were due while this thread did not run say when it ran again.
    const uint64_t too_late = clock.hz() / 50'000;
    bool late = false;
    uint64_t last_round = clock.ticks();
    for (size_t i = 0; i < order.size() || answered < order.size(); ++i) {
      if (i < order.size()) {
        if (i % 16 == 0) pace.emplace(clock);  // who asks as fast as this is not answered
        const size_t c = order[i];
        const pb::Lookup& lookup = guesses[c][random() % 1000];
        const uint64_t wait = c == planted ? clock.hz() / 1'000'000 : 0;
        const uint64_t began = clock.ticks();
        while (clock.ticks() - began < wait) {
        }
        directory->lookup(asker, lookup, [&, c, began](const pb::Found& found) {
          if (!late) taken[c].push_back(double(clock.ticks() - began));
          different += found.ByteSizeLong() != 0 ? 1 : 0;
          ++answered;
        });
      }
      const uint64_t round = clock.ticks();
      late = round - last_round > too_late;
      last_round = round;
      directory->poll();
    }
    EXPECT_EQ(different, 0u) << "answers that say something";
    for (size_t c = 0; c < of.size(); ++c) times[of[c].first] = std::move(taken[c]);
  }
};

TEST_F(Guesses, OfNamesAndAddressesTellNothingInBytesOrTime) {
  const uint32_t asker = enrol("asker", 1, control::Visibility::kPrivate);
  for (unsigned n = 0; n < 1000; ++n) {
    enrol("private-" + std::to_string(1000 + n), 1, control::Visibility::kPrivate);
  }
  for (unsigned n = 0; n < 1000; ++n) {
    const uint32_t index =
        enrol("revoked-" + std::to_string(1000 + n), 1, control::Visibility::kPublic);
    table.mark_revoked(table.agent(index), "gone", 1);
  }
  for (unsigned n = 0; n < 1000; ++n) {
    enrol("foreign-" + std::to_string(1000 + n), 2, control::Visibility::kPublic);
  }
  std::mt19937_64 random(2);
  const auto named = [&](const char* prefix) {
    return [&random, prefix] {
      pb::Lookup l;
      l.set_name(prefix + std::to_string(1000 + random() % 1000));
      return l;
    };
  };
  const auto at = [&](uint16_t tenant, uint32_t first) {
    return [&random, tenant, first] {
      pb::Lookup l;
      l.set_address(VirtualAddress{tenant, uint32_t(first + random() % 1000)}.to_u64());
      return l;
    };
  };
  std::map<std::string, std::vector<double>> times;
  ask(asker,
      {{"unknown name", named("nothing-")},
       {"private name", named("private-")},
       {"revoked name", named("revoked-")},
       {"misspelt name", named("Private-")},
       {"foreign name", named("foreign-")},
       {"unknown address", at(1, 50'000)},
       {"private address", at(1, 2)},
       {"revoked address", at(1, 1002)},
       {"foreign address", at(2, 2002)},
       {"planted", named("nothing-")}},
      "planted", times);
  const auto samples = timing::cropped(times);
  const timing::Sample& unknown = samples.at("unknown name");
  for (const auto& [name, s] : samples) {
    const double t = timing::welch(s, unknown);
    std::printf("%-16s %zu answers after %.3f us, t %+.2f\n", name.c_str(), times.at(name).size(),
                clock.us_from_ticks(uint64_t(s.mean)), t);
    EXPECT_GT(s.size, kGuesses / 20) << "too few were answered in time";
    if (name == "planted") {
      EXPECT_GT(t, kSuspicious) << "a microsecond is not found";
    } else {
      EXPECT_LT(std::abs(t), kSuspicious) << name;
    }
  }
}

// That the search itself can be told by a clock is why the answer has a moment of its own.
TEST_F(Guesses, WhatIsThereIsFound) {
  const uint32_t asker = enrol("asker", 1, control::Visibility::kPrivate);
  enrol("found", 1, control::Visibility::kPublic);
  pb::Lookup lookup;
  lookup.set_name("found");
  std::optional<pb::Found> found;
  const uint64_t began = clock.ticks();
  directory->lookup(asker, lookup, [&](const pb::Found& f) { found = f; });
  while (!found && clock.us_from_ticks(clock.ticks() - began) < 1e6) directory->poll();
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name(), "found");
  EXPECT_GE(clock.us_from_ticks(clock.ticks() - began), 2000.0);
}

}  // namespace
