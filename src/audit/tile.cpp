#include "audit/tile.h"

#include <charconv>

#include <fmt/format.h>

namespace sluice::audit {
namespace {

// Digits without a leading zero, at most `most`.
std::optional<uint64_t> number(std::string_view text, uint64_t most) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  uint64_t out = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc() || end != text.data() + text.size() || out > most) return std::nullopt;
  return out;
}

}  // namespace

std::string path_of(const Tile& tile) {
  std::string index = fmt::format("{:03}", tile.index % 1000);
  for (uint64_t rest = tile.index / 1000; rest != 0; rest /= 1000) {
    index = fmt::format("x{:03}/{}", rest % 1000, index);
  }
  std::string out = tile.level ? fmt::format("tile/{}/{}", *tile.level, index)
                               : fmt::format("tile/entries/{}", index);
  if (tile.width != kTileWidth) out += fmt::format(".p/{}", tile.width);
  return out;
}

std::optional<Tile> tile_at(std::string_view path) {
  constexpr std::string_view kTop = "tile/";
  if (!path.starts_with(kTop)) return std::nullopt;
  std::string_view rest = path.substr(kTop.size());
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  Tile out;
  if (const auto kind = rest.substr(0, slash); kind != "entries") {
    const auto level = number(kind, 63);
    if (!level) return std::nullopt;
    out.level = static_cast<unsigned>(*level);
  }
  rest.remove_prefix(slash + 1);
  if (const size_t at = rest.find(".p/"); at != std::string_view::npos) {
    const auto width = number(rest.substr(at + 3), kTileWidth - 1);
    if (!width || *width == 0) return std::nullopt;
    out.width = static_cast<unsigned>(*width);
    rest = rest.substr(0, at);
  }
  uint64_t index = 0;
  while (!rest.empty()) {
    const bool more = rest[0] == 'x';
    if (more) rest.remove_prefix(1);
    if (rest.size() < 3) return std::nullopt;
    uint64_t group = 0;
    for (const char c : rest.substr(0, 3)) {
      if (c < '0' || c > '9') return std::nullopt;
      group = group * 10 + static_cast<uint64_t>(c - '0');
    }
    if (index > (UINT64_MAX - group) / 1000) return std::nullopt;
    index = index * 1000 + group;
    rest.remove_prefix(3);
    if (more != !rest.empty()) return std::nullopt;
    if (!more) break;
    if (rest[0] != '/') return std::nullopt;
    rest.remove_prefix(1);
  }
  out.index = index;
  // One spelling for each: no groups of zeros in front.
  if (path_of(out) != path) return std::nullopt;
  return out;
}

}  // namespace sluice::audit
