// Business hours of zones, held against every minute of a year by the C library's own clock.
#include <cstdlib>
#include <ctime>

#include <gtest/gtest.h>

#include "control/time_window.h"

namespace sluice::control {
namespace {

TimeWindow weekly(std::string zone, uint8_t days,
                  std::vector<std::pair<uint16_t, uint16_t>> hours) {
  return {.name = "w", .zone = std::move(zone), .days = days, .hours = std::move(hours)};
}

TimeWindow once(std::string zone, std::string_view from, std::string_view to) {
  return {.name = "o",
          .zone = std::move(zone),
          .hours = {},
          .from_s = parse_wall_time(from).value(),
          .to_s = parse_wall_time(to).value()};
}

// 2026-01-01 00:00 UTC
constexpr uint64_t kYear = 1'767'225'600'000;
constexpr uint64_t kMinute = 60'000;

bool open_by_libc(const TimeWindow& w, uint64_t unix_ms) {
  const auto t = static_cast<time_t>(unix_ms / 1000);
  tm local{};
  localtime_r(&t, &local);
  const int day = (local.tm_wday + 6) % 7, minute = local.tm_hour * 60 + local.tm_min;
  for (const auto& [from, to] : w.hours) {
    const auto on = [&](int d) { return (w.days >> d & 1) != 0; };
    if (to > from) {
      if (on(day) && from <= minute && minute < to) return true;
    } else if ((on(day) && minute >= from) || (on((day + 6) % 7) && minute < to)) {
      return true;
    }
  }
  return false;
}

// What it says at one instant holds until the instant that it names, minute by minute.
void hold_for_a_year(const TimeWindow& w) {
  setenv("TZ", w.zone.c_str(), 1);
  tzset();
  uint64_t changes = 0;
  bool open = false;
  unsigned turns = 0;
  for (uint64_t at = kYear; at < kYear + 366 * 24 * 60 * kMinute; at += kMinute) {
    if (at >= changes) {
      const WindowState s = state_at({{w}}, at);
      ASSERT_TRUE(changes == 0 || s.open != open) << at;
      open = s.open;
      changes = s.changes_ms == 0 ? UINT64_MAX : s.changes_ms;
      ASSERT_GT(changes, at);
      ++turns;
    }
    ASSERT_EQ(open, open_by_libc(w, at)) << w.zone << " at " << at;
  }
  EXPECT_GT(turns, 50u);
  unsetenv("TZ");
  tzset();
}

TEST(TimeWindow, HoldsThroughAYearOfSeveralZones) {
  hold_for_a_year(weekly("Europe/Berlin", 0x1f, {{540, 750}, {810, 1020}}));
  hold_for_a_year(weekly("America/New_York", 0x7f, {{1320, 360}}));
  hold_for_a_year(weekly("Australia/Lord_Howe", 0x41, {{90, 150}}));  // half an hour of summer time
  hold_for_a_year(weekly("Europe/Dublin", 0x7f, {{60, 90}, {105, 120}}));
  hold_for_a_year(weekly("UTC", 0x7f, {{0, 60}}));
}

// Clocks go from 03:00 back to 02:00 on 2026-10-25: half past two comes twice.
TEST(TimeWindow, AnHourThatComesTwiceIsOpenTwice) {
  const TimeWindow w = weekly("Europe/Berlin", 0x7f, {{150, 165}});
  const uint64_t first = 1'792'888'200'000;  // 2026-10-25 00:30 UTC
  for (const uint64_t at : {first, first + 60 * kMinute}) {
    EXPECT_FALSE(state_at({{w}}, at - 1000).open);
    EXPECT_TRUE(state_at({{w}}, at).open);
    EXPECT_EQ(state_at({{w}}, at).changes_ms, at + 15 * kMinute);
  }
}

// From 02:00 to 03:00 on 2026-03-29: half past two does not come at all.
TEST(TimeWindow, AnHourThatIsLeftOutDoesNotOpen) {
  const TimeWindow w = weekly("Europe/Berlin", 0x7f, {{150, 165}});
  const uint64_t day_before = 1'774'656'000'000 + 90 * kMinute;  // 2026-03-28 01:30 UTC
  EXPECT_TRUE(state_at({{w}}, day_before).open);
  const WindowState after = state_at({{w}}, day_before + 15 * kMinute);
  EXPECT_FALSE(after.open);
  EXPECT_EQ(after.changes_ms, day_before + (48 - 1) * 60 * kMinute) << "the 30th, by summer time";
}

TEST(TimeWindow, OnceAndNeverAgain) {
  const TimeWindow w = once("America/New_York", "2026-07-01 08:00", "2026-07-01T20:00:30");
  const uint64_t from = 1'782'907'200'000;  // 12:00 UTC
  EXPECT_EQ(state_at({{w}}, from - 1).open, false);
  EXPECT_EQ(state_at({{w}}, from - 86'400'000).changes_ms, from);
  EXPECT_TRUE(state_at({{w}}, from).open);
  EXPECT_EQ(state_at({{w}}, from).changes_ms, from + 12 * 60 * kMinute + 30'000);
  const WindowState over = state_at({{w}}, from + 13 * 60 * kMinute);
  EXPECT_FALSE(over.open);
  EXPECT_EQ(over.changes_ms, 0u);
}

TEST(TimeWindow, SeveralAreOpenWhileAnyIs) {
  const TimeWindow morning = weekly("UTC", 0x7f, {{480, 720}});
  const TimeWindow noon = weekly("UTC", 0x7f, {{720, 780}});
  const WindowState s = state_at({{morning, noon}}, kYear + 9 * 60 * kMinute);
  EXPECT_TRUE(s.open);
  EXPECT_EQ(s.changes_ms, kYear + 13 * 60 * kMinute);
}

TEST(TimeWindow, OfSeveralSetsEachIsOpen) {
  const WindowSet day{weekly("UTC", 0x7f, {{480, 1020}})}, lunch{weekly("UTC", 0x7f, {{720, 780}})};
  const WindowState early = state_at({day, lunch}, kYear + 9 * 60 * kMinute);
  EXPECT_FALSE(early.open);
  EXPECT_EQ(early.changes_ms, kYear + 12 * 60 * kMinute);
  const WindowState noon = state_at({day, lunch}, early.changes_ms);
  EXPECT_TRUE(noon.open);
  EXPECT_EQ(noon.changes_ms, kYear + 13 * 60 * kMinute);
  EXPECT_TRUE(state_at({}, kYear).open) << "nothing is asked for";
}

TEST(TimeWindow, AllDayEveryDayNeverChanges) {
  const WindowState s = state_at({{weekly("Europe/Berlin", 0x7f, {{0, 1440}})}}, kYear);
  EXPECT_TRUE(s.open);
  EXPECT_EQ(s.changes_ms, 0u);
}

TEST(TimeWindow, AZoneThatIsGoneIsClosed) {
  EXPECT_FALSE(is_time_zone("Mars/Olympus"));
  EXPECT_FALSE(state_at({{weekly("Mars/Olympus", 0x7f, {{0, 1440}})}}, kYear).open);
}

TEST(TimeWindow, ReadsTimes) {
  EXPECT_EQ(parse_time_of_day("09:30"), 570);
  EXPECT_EQ(parse_time_of_day("24:00"), 1440);
  for (const char* bad : {"9:30", "24:01", "09:60", "0930", "", "09:3x", "-1:00"}) {
    EXPECT_FALSE(parse_time_of_day(bad)) << bad;
  }
  EXPECT_EQ(parse_wall_time("1970-01-02 00:01"), 86'460);
  for (const char* bad : {"2026-02-30 08:00", "2026-13-01 08:00", "2026-01-01", "1969-01-01 00:00",
                          "2026-01-01 08:00:60", "2026/01/01 08:00"}) {
    EXPECT_FALSE(parse_wall_time(bad)) << bad;
  }
  EXPECT_EQ(parse_days("mon-fri"), 0x1f);
  EXPECT_EQ(parse_days("sat-mon"), 0x61);
  EXPECT_EQ(parse_days("wed"), 0x04);
  for (const char* bad : {"", "mon-", "-", "monday", "mon-fri-sun"}) EXPECT_EQ(parse_days(bad), 0);
}

}  // namespace
}  // namespace sluice::control
