// What of a log may stay: by age, by size, or all of it. Decides only; the log removes. Reads a few
// bundles of the log's files; the log's thread.
#pragma once

#include <optional>

#include "audit/tile_source.h"

namespace sluice::audit {

// A bundle's entry, a leaf's hash, and the levels above.
constexpr uint64_t kBytesOnDisk = 2 + kRecordSize + 32 + 1;

struct Retention {
  uint64_t keep_for_ms = 0;  // 0: for ever
  uint64_t keep_bytes = 0;   // 0: all

  bool bounded() const { return keep_for_ms != 0 || keep_bytes != 0; }
};

struct Cut {
  uint64_t to = 0;  // the first record that stays; a bundle's first
  Prune why = Prune::kAge;
  uint64_t limit = 0;  // milliseconds or bytes
};

// What should go of the records from `first` on; none: nothing. Records rise with time but for
// steps of the clock, so that the edge is looked for by halves: among records whose times do not
// rise it may be any that has older ones before it and younger ones behind. The last bundle stays
// in any case.
Result<std::optional<Cut>> wanted_cut(TileSource& source, const Retention& retention,
                                      uint64_t first, uint64_t size, uint64_t now_ms);

}  // namespace sluice::audit
