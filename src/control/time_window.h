// When an edge is open: business hours of a time zone, and windows that happen once. Times are Unix
// milliseconds outside and wall-clock times of the zone inside: an instant is within a window if
// the clock on its wall is, so a change to or from summer time needs no rule of its own. Zones are
// tzdata's (libdate-tz). Plain values, no state, no clock.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::control {

struct TimeWindow {
  std::string name;
  std::string zone = "UTC";
  // Weekly: bits of days, Monday is bit 0, and minutes of the day [from, to), a day that
  // `to <= from` goes on into the next one. Empty: this window happens once.
  uint8_t days = 0x7f;
  std::vector<std::pair<uint16_t, uint16_t>> hours;
  // Once: wall-clock seconds since 1970 in the zone, [from, to).
  int64_t from_s = 0;
  int64_t to_s = 0;

  auto operator<=>(const TimeWindow&) const = default;
};

// A zone of that name is known.
bool is_time_zone(const std::string& name);

// "09:00" to "24:00" as minutes; what else there is, nothing.
std::optional<uint16_t> parse_time_of_day(std::string_view text);
// "2026-12-01 08:00" or "2026-12-01T08:00[:30]": seconds of the wall's clock.
std::optional<int64_t> parse_wall_time(std::string_view text);
// "mon", "sat-sun", "fri-mon": bits; 0 is none.
uint8_t parse_days(std::string_view text);

// The instant at which the zone's clock shows that, in Unix milliseconds; of two the first, and of
// none the one at which it was skipped. The zone is known.
uint64_t instant_of(int64_t wall_s, const std::string& zone);

struct WindowState {
  bool open = false;
  uint64_t changes_ms = 0;  // the next instant after the given one at which that is over; 0: never
};

// Open while any of them is.
using WindowSet = std::vector<TimeWindow>;
// Of several sets: open while each is.
WindowState state_at(const std::vector<WindowSet>& sets, uint64_t unix_ms);

// As a file has it, without name and zone: `days: [mon, tue], hours: ["09:00-17:00"]`.
std::string times_of(const TimeWindow& window);
// As a person reads it.
std::string to_string(const TimeWindow& window);

}  // namespace sluice::control
