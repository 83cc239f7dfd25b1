// When a credential may be used: business hours, windows that happen once, a first and a last
// instant, and how old it may become. Plain values and pure functions: whatever the clock does, the
// answer is that of the instant which is asked about. Times are Unix milliseconds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "control/credentials.h"
#include "control/time_window.h"

namespace sluice::control {

struct CredentialLife {
  WindowSet windows;           // open while any of them is; none: always
  uint64_t not_before_ms = 0;  // 0: none, as of all of these
  uint64_t not_after_ms = 0;
  uint64_t max_age_ms = 0;  // of a version, from when it was set

  auto operator<=>(const CredentialLife&) const = default;
};

// "mon-fri 09:00-17:00 Europe/Vienna"; days (several with commas) and the zone may be left out.
Result<TimeWindow> parse_hours(std::string_view text);
// "2026-12-01T08:00/2026-12-01T12:00 Europe/Vienna"; the zone may be left out.
Result<TimeWindow> parse_scheduled(std::string_view text);
// "2026-12-01T08:00 Europe/Vienna". Of a wall-clock time that is there twice, the first one.
Result<uint64_t> parse_instant(std::string_view text);

// As the store keeps it, one line each; what is read back is what was written.
std::string to_text(const CredentialLife& life);
Result<CredentialLife> parse_life(std::string_view text);

// Of a version that was set then. Never kUnavailable but for its age.
CredentialStatus judge(const CredentialLife& life, uint64_t set_ms, uint64_t unix_ms);

// Its age is worth a warning from then on: a tenth of it, two weeks at most, before its end. 0:
// never.
uint64_t aging_from_ms(const CredentialLife& life, uint64_t set_ms);

}  // namespace sluice::control
