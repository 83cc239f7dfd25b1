// Amounts of bytes as people write them: a whole number and KiB, MiB, GiB or TiB. Any thread.
#pragma once

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice {

inline constexpr std::array<std::pair<std::string_view, unsigned>, 5> kByteUnits{
    {{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"", 0}}};

// "200GiB"; a number alone is bytes. None: not of that form, or above 2^60.
inline std::optional<uint64_t> parse_bytes(std::string_view text) {
  constexpr uint64_t kMost = uint64_t{1} << 60;
  uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data(), end, value);
  if (ec != std::errc()) return std::nullopt;
  const std::string_view unit(at, static_cast<size_t>(end - at));
  for (const auto& [name, shift] : kByteUnits) {
    if (unit != name) continue;
    if (value > kMost >> shift) return std::nullopt;
    return value << shift;
  }
  return std::nullopt;
}

// Exactly that many, in the largest unit that says it whole.
inline std::string bytes_text(uint64_t bytes) {
  for (const auto& [name, shift] : kByteUnits) {
    if (bytes == 0 || (bytes & ((uint64_t{1} << shift) - 1)) != 0) continue;
    return std::to_string(bytes >> shift) + std::string(name);
  }
  return std::to_string(bytes);
}

}  // namespace sluice
