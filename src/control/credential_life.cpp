#include "control/credential_life.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <vector>

#include <fmt/format.h>

namespace sluice::control {
namespace {

constexpr int64_t kNoEnd = std::numeric_limits<int64_t>::max();
constexpr size_t kMostWindowsOfLife = 64;
constexpr uint64_t kLongestWarningMs = 14ull * 24 * 3600 * 1000;

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(at), text.size());
    if (end != 0) out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

tl::unexpected<Error> not_a(std::string_view text, std::string_view what) {
  return fail(ErrorCode::kUsage, fmt::format("\"{}\" is not {}", text, what));
}

Result<std::string> zone_of(std::string_view text) {
  std::string zone(text);
  if (is_time_zone(zone)) return zone;
  return not_a(text, "a time zone, such as Europe/Vienna or UTC");
}

bool read_times(std::string_view text, TimeWindow& out) {
  for (const std::string_view range : split(text, ',')) {
    const size_t dash = range.find('-');
    if (dash == std::string_view::npos) return false;
    const auto from = parse_time_of_day(range.substr(0, dash));
    const auto to = parse_time_of_day(range.substr(dash + 1));
    if (!from || !to || *from == *to) return false;
    out.hours.emplace_back(*from, *to);
  }
  return !out.hours.empty();
}

bool read_days(std::string_view text, TimeWindow& out) {
  out.days = 0;
  for (const std::string_view days : split(text, ',')) {
    const uint8_t bits = parse_days(days);
    if (bits == 0) return false;
    out.days |= bits;
  }
  return out.days != 0;
}

std::string hours_text(const TimeWindow& w) {
  constexpr const char* kNames[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
  std::vector<std::string> days, hours;
  for (size_t d = 0; d < 7; ++d) {
    if ((w.days >> d & 1) != 0) days.emplace_back(kNames[d]);
  }
  for (const auto& [from, to] : w.hours) {
    hours.push_back(fmt::format("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60));
  }
  return fmt::format("{} {} {}", fmt::join(days, ","), fmt::join(hours, ","), w.zone);
}

std::optional<uint64_t> unsigned_of(std::string_view text) {
  uint64_t out = 0;
  const auto [at, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return out;
}

int64_t end_of_age(const CredentialLife& life, uint64_t set_ms) {
  return life.max_age_ms == 0 ? kNoEnd : static_cast<int64_t>(set_ms + life.max_age_ms);
}

int64_t or_never(uint64_t ms) {
  return ms == 0 ? kNoEnd : static_cast<int64_t>(ms);
}

// The first instant from `from_ms` on that is within a window; kNoEnd: none.
int64_t first_open(const WindowSet& windows, uint64_t from_ms) {
  if (windows.empty()) return static_cast<int64_t>(from_ms);
  const WindowState s = state_at({windows}, from_ms);
  return s.open ? static_cast<int64_t>(from_ms) : or_never(s.changes_ms);
}

}  // namespace

Result<TimeWindow> parse_hours(std::string_view text) {
  constexpr std::string_view kForm =
      "business hours, such as \"mon-fri 09:00-17:00 Europe/Vienna\"";
  TimeWindow out{.name = "hours"};
  auto words = split(text, ' ');
  size_t at = 0;
  if (at < words.size() && words[at].find(':') == std::string_view::npos) {
    if (!read_days(words[at++], out)) return not_a(text, kForm);
  }
  if (at == words.size() || !read_times(words[at++], out)) return not_a(text, kForm);
  if (at < words.size()) {
    auto zone = zone_of(words[at++]);
    if (!zone) return tl::unexpected(zone.error());
    out.zone = std::move(*zone);
  }
  if (at != words.size()) return not_a(text, kForm);
  return out;
}

Result<TimeWindow> parse_scheduled(std::string_view text) {
  constexpr std::string_view kForm =
      "a window, such as \"2026-12-01T08:00/2026-12-01T12:00 Europe/Vienna\"";
  TimeWindow out{.name = "window"};
  const auto words = split(text, ' ');
  if (words.empty() || words.size() > 2) return not_a(text, kForm);
  const size_t slash = words[0].find('/');
  if (slash == std::string_view::npos) return not_a(text, kForm);
  const auto from = parse_wall_time(words[0].substr(0, slash));
  const auto to = parse_wall_time(words[0].substr(slash + 1));
  if (!from || !to || *to <= *from) return not_a(text, kForm);
  out.from_s = *from;
  out.to_s = *to;
  if (words.size() == 2) {
    auto zone = zone_of(words[1]);
    if (!zone) return tl::unexpected(zone.error());
    out.zone = std::move(*zone);
  }
  return out;
}

Result<uint64_t> parse_instant(std::string_view text) {
  constexpr std::string_view kForm = "a time, such as \"2026-12-01T08:00 Europe/Vienna\"";
  const auto words = split(text, ' ');
  if (words.empty() || words.size() > 2) return not_a(text, kForm);
  const auto wall = parse_wall_time(words[0]);
  if (!wall) return not_a(text, kForm);
  const auto zone = zone_of(words.size() == 2 ? words[1] : std::string_view("UTC"));
  if (!zone) return tl::unexpected(zone.error());
  return instant_of(*wall, *zone);
}

std::string to_text(const CredentialLife& life) {
  std::string out;
  for (const TimeWindow& w : life.windows) {
    out += w.hours.empty() ? fmt::format("window {} {} {}\n", w.from_s, w.to_s, w.zone)
                           : fmt::format("hours {}\n", hours_text(w));
  }
  if (life.not_before_ms != 0) out += fmt::format("not_before {}\n", life.not_before_ms);
  if (life.not_after_ms != 0) out += fmt::format("not_after {}\n", life.not_after_ms);
  if (life.max_age_ms != 0) out += fmt::format("max_age {}\n", life.max_age_ms);
  return out;
}

Result<CredentialLife> parse_life(std::string_view text) {
  const auto damaged = [] {
    return fail(ErrorCode::kStore, "when a credential may be used cannot be read from the store");
  };
  CredentialLife out;
  for (const std::string_view line : split(text, '\n')) {
    const auto words = split(line, ' ');
    if (words.size() < 2 || out.windows.size() == kMostWindowsOfLife) return damaged();
    if (words[0] == "hours") {
      auto w = parse_hours(line.substr(6));
      if (!w) return damaged();
      out.windows.push_back(std::move(*w));
      continue;
    }
    if (words[0] == "window" && words.size() == 4) {
      const auto from = unsigned_of(words[1]), to = unsigned_of(words[2]);
      if (!from || !to) return damaged();
      out.windows.push_back({.name = "window",
                             .zone = std::string(words[3]),
                             .hours = {},
                             .from_s = static_cast<int64_t>(*from),
                             .to_s = static_cast<int64_t>(*to)});
      continue;
    }
    const auto value = unsigned_of(words[1]);
    uint64_t* const at = words[0] == "not_before"  ? &out.not_before_ms
                         : words[0] == "not_after" ? &out.not_after_ms
                         : words[0] == "max_age"   ? &out.max_age_ms
                                                   : nullptr;
    if (!value || at == nullptr) return damaged();
    *at = *value;
  }
  return out;
}

CredentialStatus judge(const CredentialLife& life, uint64_t set_ms, uint64_t unix_ms) {
  const auto now = static_cast<int64_t>(unix_ms);
  const int64_t too_old = end_of_age(life, set_ms);
  const int64_t last = or_never(life.not_after_ms);
  CredentialStatus out{.until_ms = kNoEnd};
  if (now >= too_old) {
    out.why = fmt::format("it is older than {} days, its maximum age: set it anew",
                          life.max_age_ms / 86'400'000);
    return out;
  }
  out.state = CredentialState::kOutsideWindow;
  if (now >= last) return out;
  const auto opens = [&](int64_t at) { return at < std::min(last, too_old) ? at : 0; };
  if (unix_ms < life.not_before_ms) {
    out.until_ms = static_cast<int64_t>(life.not_before_ms);
    out.opens_ms = opens(first_open(life.windows, life.not_before_ms));
    return out;
  }
  int64_t change = kNoEnd;
  bool open = true;
  if (!life.windows.empty()) {
    const WindowState s = state_at({life.windows}, unix_ms);
    open = s.open;
    change = or_never(s.changes_ms);
  }
  out.until_ms = std::min({change, last, too_old});
  if (open) {
    out.state = CredentialState::kUsable;
  } else {
    out.opens_ms = opens(change);
  }
  return out;
}

uint64_t aging_from_ms(const CredentialLife& life, uint64_t set_ms) {
  if (life.max_age_ms == 0) return 0;
  return set_ms + life.max_age_ms - std::min(life.max_age_ms / 10, kLongestWarningMs);
}

}  // namespace sluice::control
