// Where the tree lies in files: C2SP's tlog-tiles. A tile holds up to 256 hashes of one level, a
// bundle up to 256 entries, each behind its length in two bytes, big-endian; either is written once
// for each width at which a checkpoint was signed. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::audit {

constexpr unsigned kTileHeight = 8;
constexpr unsigned kTileWidth = 1u << kTileHeight;

struct Tile {
  std::optional<unsigned> level;  // none: a bundle of entries
  uint64_t index = 0;
  unsigned width = kTileWidth;  // 1 to 256

  bool operator==(const Tile&) const = default;
};

// tile/0/x001/x234/067.p/8, tile/entries/000
std::string path_of(const Tile& tile);
// Exactly what path_of writes; nothing else, whatever a file system would make of it.
std::optional<Tile> tile_at(std::string_view path);

// How wide the last tile of a level is in a tree of that size; 0: there is none that is not whole.
constexpr unsigned partial_width(uint64_t size, unsigned level) {
  return static_cast<unsigned>(size >> (kTileHeight * level) & (kTileWidth - 1));
}

}  // namespace sluice::audit
