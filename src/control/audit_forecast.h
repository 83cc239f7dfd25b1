// For how long the audit log's disk lasts: by what was written lately, and what may stay of it; and
// when to warn. Control thread.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

#include "audit/writer.h"

namespace sluice::control {

struct Forecast {
  uint64_t bytes_per_day = 0;
  std::optional<double> days_left;  // none: never full, or not known
  std::string text;                 // a sentence for people
};

class AuditForecast {
 public:
  // `alert_days`: below so many there is an alert; 0: never.
  AuditForecast(const audit::Retention& retention, uint32_t alert_days)
      : retention_(retention), alert_days_(alert_days) {}

  enum class News { kNone, kAlert, kOver };
  // About once a minute; seconds that never go back. kAlert: to be said, for the first time or
  // after a day; kOver: it is over.
  News look(const audit::WriterStatus& status, double now_s);
  Forecast at(const audit::WriterStatus& status, double now_s) const;
  // What is wrong; empty: nothing.
  const std::string& alert() const { return alert_; }

 private:
  struct Sample {
    double s = 0;
    uint64_t written = 0;
  };
  double rate_since(const Sample& then, const audit::WriterStatus& status, double now_s) const;
  std::optional<std::string> bounded(const audit::WriterStatus& status, double per_s) const;

  const audit::Retention retention_;
  const uint32_t alert_days_;
  std::deque<Sample> samples_{Sample{}};  // of a day, the oldest first; it begins with the start
  std::string alert_;
  double told_at_ = 0;
};

}  // namespace sluice::control
