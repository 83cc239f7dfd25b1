#include "control/audit_forecast.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace sluice::control {
namespace {

constexpr double kDay = 86'400;
constexpr double kSampleEvery = 600;
constexpr double kWindow = kDay;
constexpr double kRecent = 600;           // looked at apart: a disk that fills today
constexpr double kMeasured = 600;         // before that a start's records are most of all
constexpr double kUrgent = 1.0 / 24;      // days: said at once
constexpr double kOverFrom = 1.1;         // of the days: what stands at the edge is not said twice
constexpr double kLag = 60;               // seconds until what may go is gone
constexpr uint64_t kJournal = 96u << 20;  // beside the tiles

}  // namespace

double AuditForecast::rate_since(const Sample& then, const audit::WriterStatus& status,
                                 double now_s) const {
  const double seconds = now_s - then.s;
  // A log that was opened again may have lost some.
  const double written = double(status.written_bytes) - double(then.written);
  return seconds < 1 ? 0 : std::max(written, 0.0) / seconds;
}

// Why the log cannot fill the disk; none: it can.
std::optional<std::string> AuditForecast::bounded(const audit::WriterStatus& status,
                                                  double per_s) const {
  const double present = double((status.size - status.first) * audit::kBytesOnDisk);
  const double room = double(status.free_bytes) - per_s * kLag - double(kJournal);
  if (retention_.keep_bytes != 0 && double(retention_.keep_bytes) - present <= room) {
    return "never full: what audit.keep_bytes lets stay fits";
  }
  const double for_s = double(retention_.keep_for_ms) / 1000;
  if (for_s > 0 && per_s * for_s - present <= room) {
    return "never full at this rate: what audit.keep_for lets stay fits";
  }
  return std::nullopt;
}

Forecast AuditForecast::at(const audit::WriterStatus& status, double now_s) const {
  // What a day showed, or the last minutes where they alone fill the disk within one.
  double per_s = rate_since(samples_.front(), status, now_s);
  const auto recent = std::find_if(samples_.rbegin(), samples_.rend(),
                                   [&](const Sample& s) { return now_s - s.s >= kRecent; });
  if (recent != samples_.rend()) {
    const double lately = rate_since(*recent, status, now_s);
    if (lately > per_s && double(status.free_bytes) < lately * kDay) per_s = lately;
  }
  Forecast out{static_cast<uint64_t>(per_s * kDay), std::nullopt, {}};
  if (const auto never = bounded(status, per_s)) {
    out.text = *never;
  } else if (out.bytes_per_day == 0) {
    out.text = "not known: nothing was written lately";
  } else {
    out.days_left = double(status.free_bytes) / (per_s * kDay);
    out.text = *out.days_left < 1
                   ? fmt::format("full in about {:.1f} hours at this rate", *out.days_left * 24)
                   : fmt::format("full in about {:.0f} days at this rate", *out.days_left);
  }
  return out;
}

AuditForecast::News AuditForecast::look(const audit::WriterStatus& status, double now_s) {
  if (now_s - samples_.back().s >= kSampleEvery) samples_.push_back({now_s, status.written_bytes});
  while (samples_.size() > 1 && now_s - samples_[1].s >= kWindow) samples_.pop_front();
  const Forecast f = at(status, now_s);
  const double days = f.days_left.value_or(HUGE_VAL);
  const bool stood = !alert_.empty();
  const bool known = now_s >= kMeasured || days < kUrgent;
  const bool stands = known && days < alert_days_ * (stood ? kOverFrom : 1.0);
  if (!stands) {
    alert_.clear();
    return stood ? News::kOver : News::kNone;
  }
  alert_ = fmt::format(
      "the audit log's disk is {} (audit.alert_days: {}): make room, or bound the log with "
      "audit.keep_for or audit.keep_bytes",
      f.text, alert_days_);
  if (stood && now_s - told_at_ < kDay) return News::kNone;
  told_at_ = now_s;
  return News::kAlert;
}

}  // namespace sluice::control
