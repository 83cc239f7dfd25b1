// What files say of calls: the relay's bounds, windows by name, and what holds a pair or a rule.
#include <algorithm>

#include <fmt/format.h>

#include "base/duration.h"
#include "control/config_parts.h"
#include "wire/call.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr size_t kMostWindows = 100;
constexpr size_t kMostHours = 16;

// "09:00-17:30"
std::optional<std::pair<uint16_t, uint16_t>> parse_hours(std::string_view text) {
  const size_t dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto from = parse_time_of_day(text.substr(0, dash));
  const auto to = parse_time_of_day(text.substr(dash + 1));
  if (!from || !to || *from == *to || *from == 24 * 60) return std::nullopt;
  return std::pair{*from, *to};
}

void read_once(const Section& s, TimeWindow& out) {
  for (const auto& [key, target] : {std::pair{"from", &out.from_s}, std::pair{"to", &out.to_s}}) {
    if (!s.require(key, "give both ends, such as 2026-12-01 08:00")) continue;
    const auto v = s.text(key);
    if (!v) continue;
    if (const auto at = parse_wall_time(v->text)) {
      *target = *at;
    } else {
      s.problem(v->line, key,
                fmt::format("{} is no time; give one such as 2026-12-01 08:00, by the clock of "
                            "the window's zone",
                            quote(v->text)));
    }
  }
  if (out.from_s != 0 && out.to_s != 0 && out.to_s <= out.from_s) {
    s.problem(s.line_of("to"), "to", "is not after from");
  }
}

void read_weekly(const Section& s, TimeWindow& out) {
  const auto days = s.list("days");
  if (!days.empty()) out.days = 0;
  for (const YamlNode& node : days) {
    const auto text = scalar_text(s.problems(), node, s.place("days"));
    if (!text) continue;
    const uint8_t bits = parse_days(*text);
    if (bits == 0) {
      s.problem(node.line, "days",
                fmt::format("{} is no day; give mon, tue, wed, thu, fri, sat, sun, or a span such "
                            "as mon-fri",
                            quote(*text)));
    }
    out.days |= bits;
  }
  const auto hours = s.list("hours");
  if (hours.size() > kMostHours) {
    s.problem(hours[kMostHours].line, "hours", fmt::format("at most {} spans", kMostHours));
  }
  for (const YamlNode& node : hours) {
    const auto text = scalar_text(s.problems(), node, s.place("hours"));
    if (!text) continue;
    if (const auto span = parse_hours(*text)) {
      out.hours.push_back(*span);
    } else {
      s.problem(node.line, "hours",
                fmt::format("{} is no span of hours; give one such as 09:00-17:30, or 22:00-06:00 "
                            "into the next day",
                            quote(*text)));
    }
  }
  if (!s.has("hours")) out.hours = {{uint16_t{0}, uint16_t{24 * 60}}};
}

TimeWindow read_window(Problems& problems, const YamlNode& node, std::string place) {
  const Section s(problems, &node, std::move(place), {"zone", "days", "hours", "from", "to"});
  TimeWindow out;
  out.name = node.key;
  if (!wire::is_agent_name(out.name)) {
    problems.add(node.key_line, fmt::format("{}: is not a window's name; give 1 to 63 of a-z, 0-9, "
                                            "., _ and -, the first a letter or digit",
                                            s.place("")));
  }
  if (const auto v = s.text("zone")) {
    out.zone = v->text;
    if (!is_time_zone(v->text)) {
      s.problem(v->line, "zone",
                fmt::format("{} is no time zone here; give one of tzdata's names, such as "
                            "Europe/Berlin (timedatectl list-timezones)",
                            quote(v->text)));
    }
  }
  const bool once = s.has("from") || s.has("to");
  if (once && (s.has("days") || s.has("hours"))) {
    s.problem(s.line_of("from"), "from",
              "is of a window that happens once, days and hours of a weekly one; make two windows");
  }
  s.require_any({"days", "hours", "from", "to"},
                "is never closed; give hours and days, or from and to");
  if (once) {
    read_once(s, out);
  } else {
    read_weekly(s, out);
  }
  return out;
}

void read_approval(const Section& parent, CallTerms& out) {
  const Section s = parent.section("approval", {"capabilities", "scopes"});
  for (const YamlNode& node : s.list("capabilities")) {
    const auto text = scalar_text(s.problems(), node, s.place("capabilities"));
    if (!text) continue;
    const uint8_t bit = wire::capability_bit(*text);
    if (bit == 0) {
      s.problem(node.line, "capabilities",
                fmt::format("{} is no capability; give read, delegate, tool_call or "
                            "workflow_command",
                            quote(*text)));
    }
    out.approve_capabilities |= bit;
  }
  const auto scopes = s.list("scopes");
  if (scopes.size() > fabric::EdgeCalls::kMostScopes) {
    s.problem(scopes[fabric::EdgeCalls::kMostScopes].line, "scopes",
              fmt::format("at most {} scopes; mark a capability instead",
                          fabric::EdgeCalls::kMostScopes));
    return;
  }
  for (const YamlNode& node : scopes) {
    const auto text = scalar_text(s.problems(), node, s.place("scopes"));
    if (!text) continue;
    if (text->empty() || !wire::is_plain_text(*text, wire::kMostTermBytes)) {
      s.problem(node.line, "scopes",
                fmt::format("an entry is a text of 1 to {} bytes", wire::kMostTermBytes));
      continue;
    }
    out.approve_scopes.push_back(*text);
  }
  std::sort(out.approve_scopes.begin(), out.approve_scopes.end());
  s.require_any({"capabilities", "scopes"}, "marks nothing; give capabilities, scopes or both");
}

}  // namespace

std::optional<uint64_t> read_duration(const Section& s, std::string_view key) {
  const auto v = s.text(key);
  if (!v) return std::nullopt;
  const auto seconds = parse_duration_s(v->text);
  if (seconds && *seconds != 0) return seconds;
  s.problem(
      v->line, key,
      fmt::format("{} is no time; give a number and s, m, h or d, such as 30d", quote(v->text)));
  return std::nullopt;
}

Windows read_windows(const Section& root, std::string_view key) {
  Windows out;
  const auto nodes = root.map(key);
  if (nodes.size() > kMostWindows) {
    root.problem(nodes[kMostWindows].key_line, key,
                 fmt::format("at most {} windows", kMostWindows));
  }
  for (const YamlNode& node : nodes) {
    const std::string place = root.place(key) + "." + quote(node.key);
    if (node.kind == YamlNode::Kind::kBroken) continue;
    if (node.kind != YamlNode::Kind::kMap) {
      root.problems().add(node.line, place + ": needs hours and days, or from and to");
      continue;
    }
    TimeWindow w = read_window(root.problems(), node, place);
    const std::string name = w.name;
    if (!out.emplace(name, std::move(w)).second) {
      root.problems().add(node.key_line, place + ": is given twice; remove one");
    }
  }
  return out;
}

void read_window_list(const Section& s, std::string_view key, const Windows& known,
                      CallTerms& out) {
  if (!s.has(key)) return;
  WindowSet set;
  for (const YamlNode& node : s.list(key)) {
    const auto text = scalar_text(s.problems(), node, s.place(key));
    if (!text) continue;
    if (const auto it = known.find(*text); it != known.end()) {
      set.push_back(it->second);
      continue;
    }
    std::vector<std::string_view> names;
    for (const auto& [name, window] : known) names.push_back(name);
    const std::string hint = suggestion(*text, names);
    s.problem(node.line, key,
              fmt::format("no window is called {}{}", quote(*text),
                          hint.empty() ? "; define it under windows" : hint));
  }
  if (s.list(key).empty()) {
    s.problem(s.line_of(key), key, "names no window; leave the key out, or deny the pair");
  }
  std::sort(set.begin(), set.end());
  if (!set.empty()) out.windows.push_back(std::move(set));
}

void read_call_terms(const Section& parent, std::string_view key, CallTerms& out) {
  const Section s = parent.section(key, {"at_once", "quota", "approval"});
  s.number("at_once", out.at_once, 1, 65'535);
  const Section quota = s.section("quota", {"calls", "per"});
  if (s.has("quota") && quota.require("calls", "give how many calls") &&
      quota.require("per", "give the period, such as 1h")) {
    quota.number("calls", out.quota.calls, 1, CallQuota::kMostCalls);
    const auto seconds = read_duration(quota, "per");
    if (seconds && *seconds > CallQuota::kLongestPeriodS) {
      quota.problem(quota.line_of("per"), "per", "is longer than 366d");
    } else if (seconds) {
      out.quota.period_s = static_cast<uint32_t>(*seconds);
    }
  }
  read_approval(s, out);
  s.require_any({"at_once", "quota", "approval"},
                "holds nothing; give at_once, quota, approval or several");
}

void read_calls(const Section& root, CallsConfig& out) {
  const Section s = root.section(
      "calls", {"skew_s", "longest_life_s", "idle_s", "approval_s", "parked", "circuit"});
  s.number("skew_s", out.skew_s, 1, 600);
  s.number("longest_life_s", out.longest_life_s, 1, 3600);
  s.number("idle_s", out.idle_s, 1, 3600);
  s.number("approval_s", out.approval_s, 1, 3600);
  s.number("parked", out.parked, 1, 65'536);
  const Section circuit =
      s.section("circuit", {"failed_percent", "of_calls", "within_s", "open_s"});
  circuit.number("failed_percent", out.circuit_percent, 0, 100);
  circuit.number("of_calls", out.circuit_calls, 1, 255);
  circuit.number("within_s", out.circuit_within_s, 1, 3600);
  circuit.number("open_s", out.circuit_open_s, 1, 3600);
}

}  // namespace sluice::control
