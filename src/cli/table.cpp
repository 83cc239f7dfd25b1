#include "cli/table.h"

#include <algorithm>

#include <fmt/format.h>

namespace sluice::cli {
namespace {

// Terminal cells, not bytes: names may hold UTF-8.
size_t width(const std::string& s) {
  return size_t(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string line(const std::vector<Column>& columns, const std::vector<size_t>& widths,
                 const std::vector<std::string>& cells) {
  std::string out;
  for (size_t i = 0; i < columns.size(); ++i) {
    const std::string pad(widths[i] - width(cells[i]), ' ');
    if (i != 0) out += "  ";
    out += columns[i].right ? pad + cells[i] : cells[i] + pad;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out + "\n";
}

}  // namespace

std::string format_table(const std::vector<Column>& columns,
                         const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  std::vector<std::string> titles;
  for (size_t i = 0; i < columns.size(); ++i) {
    size_t w = width(columns[i].title);
    for (const auto& r : rows) w = std::max(w, width(r[i]));
    widths.push_back(w);
    titles.push_back(columns[i].title);
  }
  std::string out = line(columns, widths, titles);
  for (const auto& r : rows) out += line(columns, widths, r);
  return out;
}

std::string with_unit_us(double us) {
  if (us < 1000) return fmt::format("{:.1f} us", us);
  if (us < 1e6) return fmt::format("{:.2f} ms", us / 1e3);
  // Of seconds on, so many that a larger unit says it in fewer digits.
  const double s = us / 1e6;
  if (s < 120) return fmt::format("{:.2f} s", s);
  if (s < 2 * 3600) return fmt::format("{:.0f} min", s / 60);
  if (s < 2 * 86'400) return fmt::format("{:.1f} h", s / 3600);
  return fmt::format("{:.1f} d", s / 86'400);
}

std::string with_unit_bytes(double bytes) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t u = 0;
  while (bytes >= 1024 && u < 4) bytes /= 1024, ++u;
  return u == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[u]);
}

std::string grouped(uint64_t n) {
  std::string s = std::to_string(n);
  for (int i = static_cast<int>(s.size()) - 3; i > 0; i -= 3) s.insert(size_t(i), ",");
  return s;
}

}  // namespace sluice::cli
