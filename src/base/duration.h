// Times as people write them: a whole number and s, m, h or d. Any thread.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

// "90s", "15m", "1h", "30d"; a number alone is seconds. None: not of that form, or too long.
inline std::optional<uint64_t> parse_duration_s(std::string_view text) {
  constexpr uint64_t kMost = 100ull * 366 * 24 * 3600;
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data(), end, value);
  if (ec != std::errc() || end - at > 1) return std::nullopt;
  uint64_t unit = 1;
  if (at != end) {
    switch (*at) {
      case 's':
        break;
      case 'm':
        unit = 60;
        break;
      case 'h':
        unit = 3600;
        break;
      case 'd':
        unit = 24 * 3600;
        break;
      default:
        return std::nullopt;
    }
  }
  if (value > kMost / unit) return std::nullopt;
  return value * unit;
}

// Exactly that long, in the largest unit that says it whole.
inline std::string duration_text(uint64_t seconds) {
  for (const auto& [name, unit] : {std::pair{'d', 86'400u}, {'h', 3600u}, {'m', 60u}}) {
    if (seconds != 0 && seconds % unit == 0) return std::to_string(seconds / unit) + name;
  }
  return std::to_string(seconds) + 's';
}

}  // namespace sluice
