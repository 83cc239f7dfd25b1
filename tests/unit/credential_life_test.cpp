// When a credential may be used, by instants across changes to and from summer time.
#include <gtest/gtest.h>

#include "control/credential_life.h"

namespace sluice::control {
namespace {

constexpr int64_t kEver = INT64_MAX;
constexpr uint64_t kHourMs = 3'600'000, kDayMs = 24 * kHourMs;

uint64_t at(std::string_view text) {
  const auto r = parse_instant(text);
  EXPECT_TRUE(r) << r.error().message;
  return r.value_or(0);
}

CredentialLife hours(std::string_view text) {
  auto w = parse_hours(text);
  EXPECT_TRUE(w) << w.error().message;
  return {.windows = {*w}};
}

void expect(const CredentialStatus& s, CredentialState state, int64_t until, int64_t opens) {
  EXPECT_EQ(int(s.state), int(state));
  EXPECT_EQ(s.until_ms, until);
  EXPECT_EQ(s.opens_ms, opens);
}

TEST(CredentialLife, WithoutLimitsItIsUsableForEver) {
  expect(judge({}, 0, 0), CredentialState::kUsable, kEver, 0);
  expect(judge({}, 1000, 10), CredentialState::kUsable, kEver, 0);
}

// In 2026 Vienna goes to summer time on 29 March at 02:00 and back on 25 October at 03:00.
TEST(CredentialLife, BusinessHoursFollowTheWallsClock) {
  const CredentialLife life = hours("mon-fri 09:00-17:00 Europe/Vienna");
  // Friday before: 16:30 is UTC+1.
  expect(judge(life, 0, at("2026-03-27T15:30")), CredentialState::kUsable,
         int64_t(at("2026-03-27T16:00")), 0);
  // From Friday evening to Monday: an hour less than the clock's face says.
  const auto closed = judge(life, 0, at("2026-03-27T16:00"));
  expect(closed, CredentialState::kOutsideWindow, int64_t(at("2026-03-30T07:00")),
         int64_t(at("2026-03-30T07:00")));
  EXPECT_EQ(uint64_t(closed.opens_ms) - at("2026-03-27T16:00"), 63 * kHourMs);
  expect(judge(life, 0, at("2026-03-30T07:00")), CredentialState::kUsable,
         int64_t(at("2026-03-30T15:00")), 0);
  // And in autumn one more.
  EXPECT_EQ(judge(life, 0, at("2026-10-23T15:00")).opens_ms, int64_t(at("2026-10-26T08:00")));
}

TEST(CredentialLife, HoursThatAreSkippedOrRepeated) {
  // 02:30 to 03:30 is half an hour in spring: from 03:00, which comes after 01:59.
  const CredentialLife night = hours("02:30-03:30 Europe/Vienna");
  expect(judge(night, 0, at("2026-03-29T00:59:59")), CredentialState::kOutsideWindow,
         int64_t(at("2026-03-29T01:00")), int64_t(at("2026-03-29T01:00")));
  expect(judge(night, 0, at("2026-03-29T01:00")), CredentialState::kUsable,
         int64_t(at("2026-03-29T01:30")), 0);
  // In autumn 02:30 is there twice, and between them 02:00 again.
  expect(judge(night, 0, at("2026-10-25T00:30")), CredentialState::kUsable,
         int64_t(at("2026-10-25T01:00")), 0);
  expect(judge(night, 0, at("2026-10-25T01:00")), CredentialState::kOutsideWindow,
         int64_t(at("2026-10-25T01:30")), int64_t(at("2026-10-25T01:30")));
  expect(judge(night, 0, at("2026-10-25T01:30")), CredentialState::kUsable,
         int64_t(at("2026-10-25T02:30")), 0);
}

TEST(CredentialLife, InstantsOfWallClocks) {
  EXPECT_EQ(at("2026-07-01T12:00 Europe/Vienna"), at("2026-07-01T10:00"));
  EXPECT_EQ(at("2026-10-25T02:30 Europe/Vienna"), at("2026-10-25T00:30")) << "the first of two";
  EXPECT_EQ(at("2026-03-29T02:30 Europe/Vienna"), at("2026-03-29T01:00")) << "one that is skipped";
}

TEST(CredentialLife, AFirstAndALastInstantAndTheWindowsBetween) {
  CredentialLife life = hours("09:00-17:00");
  life.not_before_ms = at("2026-05-04T20:00");
  life.not_after_ms = at("2026-05-06T12:00");
  const auto state = [&](std::string_view when) { return judge(life, 0, at(when)); };
  expect(state("2026-05-04T10:00"), CredentialState::kOutsideWindow,
         int64_t(at("2026-05-04T20:00")), int64_t(at("2026-05-05T09:00")));
  expect(state("2026-05-04T20:00"), CredentialState::kOutsideWindow,
         int64_t(at("2026-05-05T09:00")), int64_t(at("2026-05-05T09:00")));
  expect(state("2026-05-05T09:00"), CredentialState::kUsable, int64_t(at("2026-05-05T17:00")), 0);
  expect(state("2026-05-06T09:00"), CredentialState::kUsable, int64_t(at("2026-05-06T12:00")), 0);
  expect(state("2026-05-06T12:00"), CredentialState::kOutsideWindow, kEver, 0);
  // The next opening would be after its end.
  life.not_after_ms = at("2026-05-06T08:00");
  expect(state("2026-05-05T17:00"), CredentialState::kOutsideWindow,
         int64_t(at("2026-05-06T08:00")), 0);
}

TEST(CredentialLife, ScheduledWindowsBesideHours) {
  CredentialLife life = hours("mon 09:00-10:00 UTC");
  life.windows.push_back(*parse_scheduled("2026-05-06T20:00/2026-05-06T22:00 Europe/Vienna"));
  expect(judge(life, 0, at("2026-05-05T00:00")), CredentialState::kOutsideWindow,
         int64_t(at("2026-05-06T18:00")), int64_t(at("2026-05-06T18:00")));
  expect(judge(life, 0, at("2026-05-06T19:00")), CredentialState::kUsable,
         int64_t(at("2026-05-06T20:00")), 0);
  expect(judge(life, 0, at("2026-05-06T20:00")), CredentialState::kOutsideWindow,
         int64_t(at("2026-05-11T09:00")), int64_t(at("2026-05-11T09:00")));
}

TEST(CredentialLife, AgeCountsFromWhenItWasSet) {
  const CredentialLife life{.max_age_ms = 90 * kDayMs};
  const uint64_t set = at("2026-01-01T00:00");
  const auto end = int64_t(set + 90 * kDayMs);
  expect(judge(life, set, set), CredentialState::kUsable, end, 0);
  expect(judge(life, set, set + 90 * kDayMs - 1), CredentialState::kUsable, end, 0);
  const auto over = judge(life, set, set + 90 * kDayMs);
  expect(over, CredentialState::kUnavailable, kEver, 0);
  EXPECT_NE(over.why.find("90 days"), std::string::npos) << over.why;
  EXPECT_EQ(aging_from_ms(life, set), set + 81 * kDayMs);
  EXPECT_EQ(aging_from_ms({.max_age_ms = 1000 * kDayMs}, set), set + 986 * kDayMs);
  EXPECT_EQ(aging_from_ms({}, set), 0u);
  // A clock that was set back makes nothing old.
  expect(judge(life, set, set - kDayMs), CredentialState::kUsable, end, 0);
}

TEST(CredentialLife, IsReadBackAsItWasWritten) {
  CredentialLife life = hours("mon-wed,fri 09:00-12:00,13:00-24:00 Europe/Vienna");
  life.windows.push_back(*parse_hours("22:00-06:00"));
  life.windows.push_back(*parse_scheduled("2026-05-06T20:00:30/2026-05-06T22:00 Asia/Tokyo"));
  life.not_before_ms = 1;
  life.not_after_ms = 2;
  life.max_age_ms = 3000;
  const auto again = parse_life(to_text(life));
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, life);
  EXPECT_EQ(*parse_life(""), CredentialLife{});
  for (const char* bad : {"x", "x 1", "not_before", "not_before x", "hours", "hours x",
                          "window 1 2", "window x 2 UTC"}) {
    EXPECT_FALSE(parse_life(bad)) << bad;
  }
}

TEST(CredentialLife, MistakesAreSaid) {
  for (const char* bad :
       {"", "mon", "09:00", "mon 09:00", "mon 9-17", "mon 09:00-09:00", "foo 09:00-17:00",
        "mon 09:00-17:00 Mars/Base", "mon 09:00-17:00 UTC x"}) {
    EXPECT_FALSE(parse_hours(bad)) << bad;
  }
  for (const char* bad : {"", "2026-05-06T20:00", "2026-05-06T20:00/2026-05-06T20:00",
                          "2026-05-06T20:00/2026-05-05T20:00", "2026-05-06/2026-05-07",
                          "2026-05-06T20:00/2026-05-07T20:00 Mars/Base"}) {
    EXPECT_FALSE(parse_scheduled(bad)) << bad;
  }
  for (const char* bad : {"", "now", "2026-13-01T00:00", "2026-05-06T20:00 Mars/Base"}) {
    EXPECT_FALSE(parse_instant(bad)) << bad;
  }
}

}  // namespace
}  // namespace sluice::control
