#include "control/config_problems.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

namespace sluice::control {
namespace {

constexpr size_t kLongestQuote = 60;
constexpr size_t kLongestName = 64;  // edit distance is quadratic

// Insertions, deletions, replacements and swaps of neighbours, each at cost 1.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

}  // namespace

void Problems::add(int line, std::string text) {
  if (full()) return;
  if (list_.size() == kMost) {
    text = fmt::format("more than {} problems: the rest is not listed", kMost);
    line = list_.back().line;
  }
  list_.push_back({line, std::move(text)});
}

// Items of lists and entries of maps are told once: ports[].name, whichever the port.
void Problems::add_rule(KeyRule rule) {
  for (size_t at = 0; (at = rule.place.find('[', at)) != std::string::npos; ++at) {
    rule.place.erase(at + 1, rule.place.find(']', at) - at - 1);
  }
  const bool known = std::any_of(rules_->begin(), rules_->end(),
                                 [&](const KeyRule& r) { return r.place == rule.place; });
  if (!known) rules_->push_back(std::move(rule));
}

std::vector<ConfigProblem> Problems::take_sorted() {
  const auto by_line = [](const auto& a, const auto& b) { return a.line < b.line; };
  // What says that the list was cut stays last.
  const auto end = full() ? list_.end() - 1 : list_.end();
  std::stable_sort(list_.begin(), end, by_line);
  if (full()) list_.back().line = list_[kMost - 1].line;
  return std::move(list_);
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  const bool cut = text.size() > kLongestQuote;
  if (cut) {
    size_t keep = kLongestQuote;
    while (keep > 0 && (static_cast<unsigned char>(text[keep]) & 0xc0) == 0x80) --keep;
    text = text.substr(0, keep);
  }
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (cut ? "…\"" : "\"");
}

std::optional<std::string_view> nearest(std::string_view text,
                                        std::span<const std::string_view> candidates) {
  if (text.size() > kLongestName) return std::nullopt;
  const size_t allowed = std::clamp<size_t>(text.size() / 3, 1, 3);
  size_t best = allowed + 1;
  std::optional<std::string_view> found;
  for (const std::string_view c : candidates) {
    const size_t apart = c.size() > text.size() ? c.size() - text.size() : text.size() - c.size();
    if (apart > allowed || c.size() > kLongestName) continue;
    if (const size_t d = edit_distance(text, c); d < best) {
      best = d;
      found = c;
    }
  }
  return found;
}

std::string suggestion(std::string_view text, std::span<const std::string_view> candidates) {
  const auto close = nearest(text, candidates);
  return close ? fmt::format("; did you mean {}?", quote(*close)) : std::string();
}

std::string join_names(std::span<const std::string_view> names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string format_problems(const std::string& path, const std::vector<ConfigProblem>& problems) {
  std::string out;
  for (const auto& p : problems) {
    if (!out.empty()) out += '\n';
    out += p.line > 0 ? fmt::format("{}:{}: {}", path, p.line, p.text)
                      : fmt::format("{}: {}", path, p.text);
  }
  return out;
}

}  // namespace sluice::control
