#include "audit/retention.h"

#include <algorithm>

namespace sluice::audit {
namespace {

// Whether all that a bundle holds is older. One that is gone is.
Result<bool> older(TileSource& source, uint64_t bundle, uint64_t size, uint64_t than_ms) {
  const auto records = read_records(source, bundle, size);
  if (!records && records.error().code == ErrorCode::kNotFound) return true;
  if (!records) return tl::unexpected(records.error());
  return std::all_of(records->begin(), records->end(),
                     [&](const Record& r) { return header_of(r).time_ms < than_ms; });
}

// The first bundle in [begin, end) that is not; `end`: none.
Result<uint64_t> first_younger(TileSource& source, uint64_t begin, uint64_t end, uint64_t than_ms) {
  const uint64_t size = end * kTileWidth;
  uint64_t low = begin;  // all before it are older
  uint64_t high = end;   // it is not
  // Seldom far from the beginning: what was older an hour ago is gone.
  for (uint64_t step = 1; low < high; step *= 2) {
    const uint64_t at = std::min(low + step, high) - 1;
    const auto is = older(source, at, size, than_ms);
    if (!is) return tl::unexpected(is.error());
    if (!*is) {
      high = at;
      break;
    }
    low = at + 1;
  }
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    const auto is = older(source, middle, size, than_ms);
    if (!is) return tl::unexpected(is.error());
    (*is ? low : high) = *is ? middle + 1 : middle;
  }
  return low;
}

}  // namespace

Result<std::optional<Cut>> wanted_cut(TileSource& source, const Retention& retention,
                                      uint64_t first, uint64_t size, uint64_t now_ms) {
  Cut out{first, Prune::kAge, 0};
  // The newest bundle, whole or not, is where the log goes on.
  const uint64_t end = size == 0 ? 0 : (size - 1) / kTileWidth;
  const uint64_t last = end * kTileWidth;
  if (retention.keep_bytes != 0) {
    const uint64_t records = retention.keep_bytes / kBytesOnDisk;
    // Rounded up: what stays is no more than that.
    const uint64_t to = size <= records ? 0 : (size - records + kTileWidth - 1) / kTileWidth;
    if (to * kTileWidth > out.to) out = {to * kTileWidth, Prune::kBytes, retention.keep_bytes};
  }
  if (retention.keep_for_ms != 0 && now_ms > retention.keep_for_ms) {
    const auto younger =
        first_younger(source, first / kTileWidth, end, now_ms - retention.keep_for_ms);
    if (!younger) return tl::unexpected(younger.error());
    if (*younger * kTileWidth > out.to) {
      out = {*younger * kTileWidth, Prune::kAge, retention.keep_for_ms};
    }
  }
  out.to = std::min(out.to, last);
  if (out.to <= first) return std::nullopt;
  return out;
}

}  // namespace sluice::audit
