#include "audit/tile_source.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"

namespace sluice::audit {
namespace {

constexpr size_t kEntry = 2 + kRecordSize;
constexpr size_t kLargest = kTileWidth * kEntry;

// Of the width that a tree of `size` has; else of the whole one.
Result<std::string> read_wide_enough(TileSource& source, std::optional<unsigned> level,
                                     uint64_t index, uint64_t size, unsigned& width) {
  const unsigned at = level.value_or(0);
  const bool last = index == size >> (kTileHeight * (at + 1));
  width = last ? partial_width(size, at) : kTileWidth;
  if (width == 0 || index > size >> (kTileHeight * (at + 1))) {
    return fail(ErrorCode::kNotFound,
                fmt::format("{} is beyond the log's end", path_of({level, index})));
  }
  auto out = source.read({level, index, width});
  if (!out && out.error().code == ErrorCode::kNotFound && width != kTileWidth) {
    if (auto whole = source.read({level, index})) return whole;
  }
  if (out || out.error().code != ErrorCode::kNotFound) return out;
  const unsigned height = kTileHeight * (at + 1);
  return fail(ErrorCode::kNotFound,
              fmt::format("{} of the audit log, with {} {} to {}, is missing",
                          path_of({level, index}), level ? "the hashes of records" : "records",
                          index << height, std::min(size, (index + 1) << height) - 1));
}

tl::unexpected<Error> malformed(std::optional<unsigned> level, uint64_t index) {
  return fail(ErrorCode::kStore,
              fmt::format("{} of the audit log has the wrong size or form: it was changed",
                          path_of({level, index})));
}

}  // namespace

Result<std::string> FolderSource::checkpoint() {
  auto out = read_file(folder_ + "/checkpoint", 64u << 10);
  if (!out && out.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no audit log in {}", folder_));
  }
  return out;
}

Result<std::string> FolderSource::pruned() {
  return read_file(folder_ + "/pruned", 64);
}

Result<std::string> FolderSource::read(const Tile& tile) {
  return read_file(fmt::format("{}/{}", folder_, path_of(tile)), kLargest);
}

Result<std::vector<Hash>> read_hashes(TileSource& source, unsigned level, uint64_t index,
                                      uint64_t size) {
  unsigned width = 0;
  const auto text = read_wide_enough(source, level, index, size, width);
  if (!text) return tl::unexpected(text.error());
  if (text->size() % sizeof(Hash) != 0 || text->size() > kTileWidth * sizeof(Hash) ||
      text->size() < width * sizeof(Hash)) {
    return malformed(level, index);
  }
  std::vector<Hash> out(width);
  std::memcpy(out.data(), text->data(), width * sizeof(Hash));
  return out;
}

Result<std::vector<Record>> read_records(TileSource& source, uint64_t index, uint64_t size) {
  unsigned width = 0;
  const auto text = read_wide_enough(source, std::nullopt, index, size, width);
  if (!text) return tl::unexpected(text.error());
  if (text->size() % kEntry != 0 || text->size() > kLargest || text->size() < width * kEntry) {
    return malformed(std::nullopt, index);
  }
  std::vector<Record> out(width);
  for (unsigned i = 0; i < width; ++i) {
    const char* at = text->data() + i * kEntry;
    if (load_be16(at) != kRecordSize) return malformed(std::nullopt, index);
    std::memcpy(out[i].data(), at + 2, kRecordSize);
  }
  return out;
}

SubtreeHash subtrees_of(TileSource& source, uint64_t size) {
  return [&source, size](unsigned height, uint64_t index) -> Result<Hash> {
    const unsigned level = height / kTileHeight;
    const unsigned above = height % kTileHeight;  // of the hashes that the tile holds
    const uint64_t first = index << above;
    auto tile = read_hashes(source, level, first / kTileWidth, size);
    if (!tile) return tl::unexpected(std::move(tile.error()));
    const size_t at = first % kTileWidth;
    const size_t n = size_t{1} << above;
    if (at + n > tile->size()) return malformed(level, first / kTileWidth);
    std::vector<Hash> row(tile->begin() + static_cast<ptrdiff_t>(at),
                          tile->begin() + static_cast<ptrdiff_t>(at + n));
    while (row.size() > 1) {
      for (size_t i = 0; i < row.size() / 2; ++i) row[i] = node_hash(row[2 * i], row[2 * i + 1]);
      row.resize(row.size() / 2);
    }
    return row[0];
  };
}

}  // namespace sluice::audit
