#include "control/time_window.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <sstream>

#include <date/tz.h>

#include <fmt/format.h>

namespace sluice::control {
namespace {

using std::chrono::seconds;

constexpr int64_t kDay = 86'400;
// A weekly window that is closed for longer than this never opens; and where zones change, there is
// no more to learn from looking further.
constexpr int64_t kHorizonDays = 15;
constexpr int64_t kNever = INT64_MAX;

constexpr std::array<std::string_view, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};

const date::time_zone* find_zone(const std::string& name) {
  try {
    return date::locate_zone(name);
  } catch (const std::exception&) {  // the library has no other way to say that there is none
    return nullptr;
  }
}

// 1970-01-01 was a Thursday.
unsigned weekday(int64_t day) {
  return static_cast<unsigned>(((day + 3) % 7 + 7) % 7);
}

int64_t day_of(int64_t local_s) {
  return local_s >= 0 ? local_s / kDay : (local_s - kDay + 1) / kDay;
}

// Of the wall's clock: is it within, and when is the next edge of any interval. Yesterday's hours
// may reach into today.
bool open_on_wall(const TimeWindow& w, int64_t local_s, int64_t& next_s) {
  bool open = false;
  next_s = kNever;
  const auto look = [&](int64_t from, int64_t to) {
    if (from <= local_s && local_s < to) open = true;
    for (const int64_t edge : {from, to}) {
      if (edge > local_s) next_s = std::min(next_s, edge);
    }
  };
  if (w.hours.empty()) {
    look(w.from_s, w.to_s);
    return open;
  }
  const int64_t today = day_of(local_s);
  for (int64_t day = today - 1; day <= today + 8; ++day) {
    if ((w.days >> weekday(day) & 1) == 0) continue;
    for (const auto& [from, to] : w.hours) {
      const int64_t end = to <= from ? to + 24 * 60 : to;
      look(day * kDay + from * 60, day * kDay + end * 60);
    }
  }
  return open;
}

// By stretches of time in which the zone's offset stays what it is.
WindowState state_of(const TimeWindow& w, int64_t now_s) {
  const date::time_zone* zone = find_zone(w.zone);
  // tzdata was taken away since the window was read: nothing says that it is open.
  if (zone == nullptr) return {};
  int64_t t = now_s;
  std::optional<bool> open;
  const int64_t horizon = w.hours.empty() ? kNever : now_s + kHorizonDays * kDay;
  while (t < horizon) {
    const date::sys_info info = zone->get_info(date::sys_seconds(seconds(t)));
    const int64_t offset = info.offset.count();
    int64_t next = kNever;
    const bool here = open_on_wall(w, t + offset, next);
    if (!open) open = here;
    if (here != *open) return {*open, static_cast<uint64_t>(t) * 1000};
    const int64_t turn = info.end.time_since_epoch().count();
    const int64_t edge = next == kNever ? kNever : next - offset;
    // No more edges, and those of other offsets lie at most a day away.
    if (next == kNever && t + offset > w.to_s + kDay) break;
    t = std::min(edge, turn);
  }
  return {open.value_or(false), 0};
}

std::optional<int> digits(std::string_view text) {
  int out = 0;
  if (text.empty() || text.size() > 4) return std::nullopt;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    out = out * 10 + (c - '0');
  }
  return out;
}

std::string time_of_day(int minutes) {
  return fmt::format("{:02}:{:02}", minutes / 60, minutes % 60);
}

std::string wall_time(int64_t local_s) {
  const date::year_month_day ymd(date::sys_days(date::days(day_of(local_s))));
  const int64_t s = local_s - day_of(local_s) * kDay;
  std::string out = fmt::format("{:04}-{:02}-{:02} {}", int(ymd.year()), unsigned(ymd.month()),
                                unsigned(ymd.day()), time_of_day(static_cast<int>(s / 60)));
  if (s % 60 != 0) out += fmt::format(":{:02}", s % 60);
  return out;
}

}  // namespace

bool is_time_zone(const std::string& name) {
  return find_zone(name) != nullptr;
}

std::optional<uint16_t> parse_time_of_day(std::string_view text) {
  if (text.size() != 5 || text[2] != ':') return std::nullopt;
  const auto h = digits(text.substr(0, 2)), m = digits(text.substr(3));
  if (!h || !m || *m > 59 || *h * 60 + *m > 24 * 60) return std::nullopt;
  return static_cast<uint16_t>(*h * 60 + *m);
}

std::optional<int64_t> parse_wall_time(std::string_view text) {
  if (text.size() != 16 && text.size() != 19) return std::nullopt;
  if (text[4] != '-' || text[7] != '-' || (text[10] != ' ' && text[10] != 'T')) return std::nullopt;
  const auto y = digits(text.substr(0, 4)), mo = digits(text.substr(5, 2)),
             d = digits(text.substr(8, 2));
  const auto minutes = parse_time_of_day(text.substr(11, 5));
  if (!y || !mo || !d || !minutes) return std::nullopt;
  const date::year_month_day ymd(date::year(*y), date::month(static_cast<unsigned>(*mo)),
                                 date::day(static_cast<unsigned>(*d)));
  if (!ymd.ok() || *y < 1970) return std::nullopt;
  int64_t out = date::sys_days(ymd).time_since_epoch().count() * kDay + *minutes * 60;
  if (text.size() == 19) {
    const auto s = digits(text.substr(17));
    if (text[16] != ':' || !s || *s > 59) return std::nullopt;
    out += *s;
  }
  return out;
}

uint64_t instant_of(int64_t wall_s, const std::string& zone) {
  const date::time_zone* known = find_zone(zone);
  if (known == nullptr) return 0;
  const auto at = known->to_sys(date::local_seconds(seconds(wall_s)), date::choose::earliest);
  return static_cast<uint64_t>(at.time_since_epoch().count()) * 1000;
}

uint8_t parse_days(std::string_view text) {
  const auto index = [](std::string_view name) {
    return static_cast<size_t>(std::find(kDays.begin(), kDays.end(), name) - kDays.begin());
  };
  const size_t dash = text.find('-');
  const size_t from = index(text.substr(0, dash));
  const size_t to = dash == std::string_view::npos ? from : index(text.substr(dash + 1));
  if (from == kDays.size() || to == kDays.size()) return 0;
  uint8_t out = 0;
  for (size_t d = from;; d = (d + 1) % kDays.size()) {
    out |= static_cast<uint8_t>(1u << d);
    if (d == to) return out;
  }
}

WindowState state_at(const std::vector<WindowSet>& sets, uint64_t unix_ms) {
  // A change of one of several may leave the whole as it was.
  WindowState out;
  uint64_t at = unix_ms;
  for (int step = 0; step < 4096; ++step) {
    bool open = true;
    uint64_t next = 0;
    for (const WindowSet& set : sets) {
      bool any = false;
      for (const TimeWindow& w : set) {
        const WindowState s = state_of(w, static_cast<int64_t>(at / 1000));
        any = any || s.open;
        if (s.changes_ms != 0 && (next == 0 || s.changes_ms < next)) next = s.changes_ms;
      }
      open = open && any;
    }
    if (step == 0) out.open = open;
    if (step != 0 && open != out.open) {
      out.changes_ms = at;
      return out;
    }
    if (next == 0) return out;
    at = next;
  }
  // Windows that take turns without end: looked at again by then.
  out.changes_ms = at;
  return out;
}

std::string times_of(const TimeWindow& w) {
  if (w.hours.empty()) {
    return fmt::format("from: \"{}\", to: \"{}\"", wall_time(w.from_s), wall_time(w.to_s));
  }
  std::vector<std::string> days, hours;
  for (size_t d = 0; d < kDays.size(); ++d) {
    if ((w.days >> d & 1) != 0) days.emplace_back(kDays[d]);
  }
  for (const auto& [from, to] : w.hours) {
    hours.push_back(fmt::format("\"{}-{}\"", time_of_day(from), time_of_day(to)));
  }
  return fmt::format("days: [{}], hours: [{}]", fmt::join(days, ", "), fmt::join(hours, ", "));
}

std::string to_string(const TimeWindow& w) {
  return fmt::format("{} ({}, {})", w.name, times_of(w), w.zone);
}

}  // namespace sluice::control
