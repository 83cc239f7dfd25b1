// Where the time of a start goes, for one line of the log. Main thread, before workers run.
#pragma once

#include <string>

#include <fmt/format.h>

#include "base/clock.h"

namespace sluice::relayd {

class StartTimes {
 public:
  explicit StartTimes(const Clock& clock) : clock_(clock), began_(clock.ticks()), last_(began_) {}

  // What was done since the last call, or since the beginning.
  void done(const char* what) {
    const uint64_t now = clock_.ticks();
    parts_ += fmt::format("{}{} {:.0f} ms", parts_.empty() ? "" : ", ", what, ms(now - last_));
    last_ = now;
  }
  // "1234 ms (memory 200 ms, …)"
  std::string text() const { return fmt::format("{:.0f} ms ({})", ms(last_ - began_), parts_); }

 private:
  double ms(uint64_t ticks) const { return clock_.us_from_ticks(ticks) / 1000; }

  const Clock& clock_;
  uint64_t began_, last_;
  std::string parts_;
};

}  // namespace sluice::relayd
