// How long the audit log's disk lasts, and when that is said.
#include "control/audit_forecast.h"

#include <gtest/gtest.h>

namespace sluice::control {
namespace {

using News = AuditForecast::News;
constexpr double kDay = 86'400;
constexpr uint64_t kGiB = uint64_t{1} << 30;

audit::WriterStatus status(uint64_t written, uint64_t free, uint64_t kept = 0) {
  audit::WriterStatus s;
  s.written_bytes = written;
  s.free_bytes = free;
  s.size = kept / audit::kBytesOnDisk;
  return s;
}

TEST(AuditForecast, SaysHowLongTheDiskLasts) {
  const AuditForecast f({}, 14);
  const auto at = f.at(status(kGiB, 30 * kGiB), kDay);
  EXPECT_EQ(at.bytes_per_day, kGiB);
  EXPECT_DOUBLE_EQ(*at.days_left, 30);
  EXPECT_EQ(at.text, "full in about 30 days at this rate");
  EXPECT_EQ(f.at(status(kGiB, kGiB / 4), kDay).text, "full in about 6.0 hours at this rate");
  const auto rest = f.at(status(0, kGiB), kDay);
  EXPECT_FALSE(rest.days_left);
  EXPECT_EQ(rest.text, "not known: nothing was written lately");
  EXPECT_EQ(f.at(status(5, kGiB), 0.5).bytes_per_day, 0u) << "not measured";
}

// What may stay fits, or does not.
TEST(AuditForecast, ABoundThatFitsNeverFillsTheDisk) {
  const AuditForecast bytes({0, 100 * kGiB}, 14);
  // 60 of 100 are there: 40 more come.
  EXPECT_FALSE(bytes.at(status(kGiB, 41 * kGiB, 60 * kGiB), kDay).days_left);
  EXPECT_EQ(bytes.at(status(kGiB, 41 * kGiB, 60 * kGiB), kDay).text,
            "never full: what audit.keep_bytes lets stay fits");
  EXPECT_TRUE(bytes.at(status(kGiB, 40 * kGiB, 60 * kGiB), kDay).days_left)
      << "the journal needs some as well";
  EXPECT_FALSE(bytes.at(status(kGiB, kGiB, 101 * kGiB), kDay).days_left);
  const AuditForecast age({30ull * 86'400'000, 0}, 14);
  EXPECT_FALSE(age.at(status(kGiB, 11 * kGiB, 20 * kGiB), kDay).days_left);
  EXPECT_EQ(age.at(status(kGiB, 11 * kGiB, 20 * kGiB), kDay).text,
            "never full at this rate: what audit.keep_for lets stay fits");
  EXPECT_DOUBLE_EQ(*age.at(status(kGiB, 9 * kGiB, 20 * kGiB), kDay).days_left, 9);
  // Either bound will do.
  const AuditForecast both({30ull * 86'400'000, 1000 * kGiB}, 14);
  EXPECT_FALSE(both.at(status(kGiB, 11 * kGiB, 20 * kGiB), kDay).days_left);
}

TEST(AuditForecast, WarnsOnceADayAndWhenItIsOver) {
  AuditForecast f({}, 14);
  const auto look = [&](double at_s, uint64_t free) {
    return f.look(status(static_cast<uint64_t>(at_s / kDay * kGiB), free), at_s);
  };
  EXPECT_EQ(look(60, 10 * kGiB), News::kNone) << "a minute shows little";
  EXPECT_EQ(f.alert(), "");
  EXPECT_EQ(look(599, 10 * kGiB), News::kNone);
  EXPECT_EQ(look(660, 10 * kGiB), News::kAlert);
  EXPECT_EQ(f.alert(),
            "the audit log's disk is full in about 10 days at this rate (audit.alert_days: 14): "
            "make room, or bound the log with audit.keep_for or audit.keep_bytes");
  EXPECT_EQ(look(720, 10 * kGiB), News::kNone);
  EXPECT_EQ(look(660 + kDay - 60, 9 * kGiB), News::kNone);
  EXPECT_EQ(look(660 + kDay, 9 * kGiB), News::kAlert) << "the day after";
  EXPECT_NE(f.alert().find("9 days"), std::string::npos);
  EXPECT_EQ(look(720 + kDay, 15 * kGiB), News::kNone) << "at the edge it stands";
  EXPECT_EQ(look(780 + kDay, 16 * kGiB), News::kOver);
  EXPECT_EQ(f.alert(), "");
  EXPECT_EQ(look(840 + kDay, 16 * kGiB), News::kNone);
  EXPECT_EQ(look(900 + kDay, 13 * kGiB), News::kAlert) << "a new one";
}

TEST(AuditForecast, NeverWhereToldSo) {
  AuditForecast f({}, 0);
  EXPECT_EQ(f.look(status(kGiB, 1), kDay), News::kNone);
  EXPECT_EQ(f.alert(), "");
}

TEST(AuditForecast, ADiskThatFillsTodayIsSaidAtOnce) {
  AuditForecast f({}, 14);
  // A tenth of a GiB in the first minute, and room for one: ten minutes.
  EXPECT_EQ(f.look(status(kGiB / 10, kGiB), 60), News::kAlert);
  EXPECT_NE(f.alert().find("hours"), std::string::npos);
  // A flood after a quiet day.
  AuditForecast g({}, 14);
  for (double s = 60; s < kDay; s += 60) {
    ASSERT_EQ(g.look(status(0, 100 * kGiB), s), News::kNone);
  }
  News news = News::kNone;
  double s = kDay;
  for (; news == News::kNone && s < kDay + 1200; s += 60) {
    news = g.look(status(static_cast<uint64_t>((s - kDay) / 60 * kGiB), 100 * kGiB), s);
  }
  EXPECT_EQ(news, News::kAlert);
  EXPECT_LE(s, kDay + 780);
}

// A log that was opened again may have become shorter.
TEST(AuditForecast, WhatWasLostIsNotWritten) {
  AuditForecast f({}, 14);
  for (double s = 60; s < 2000; s += 60) f.look(status(1'000'000, kGiB), s);
  EXPECT_EQ(f.at(status(0, kGiB), 5000).bytes_per_day, 0u);
}

}  // namespace
}  // namespace sluice::control
