// What of a log's beginning is gone by its own rules. A log says so in a record, which is in the
// tree like all others, and names the record in a file beside the checkpoint; C2SP's tlog-tiles
// calls the first record that is kept the minimum index. The tree above bundles and leaves stays
// whole, so what is kept is proven as before, and so is every root at a bundle's edge.
// Pure but for what the source reads.
#pragma once

#include "audit/note.h"
#include "audit/tile_source.h"

namespace sluice::audit {

// The record that says it, as that file names it; None: no such number.
std::optional<uint64_t> pruning_number(std::string_view text);
std::string pruning_text(uint64_t record);

// A record that says which records are gone, at that place in a log: whole bundles, before it.
bool is_pruning(const Record& record, uint64_t index);

struct Pruned {
  uint64_t record = 0;  // which says it; meaningless where nothing is gone
  Pruning what;

  uint64_t first() const { return what.to; }  // the first record that is kept
};

// Proven to be in the log that `head` is of, or in a later state of it: it may have been pruned
// since. Nothing gone: all zero. kStore: it is not as it was signed. kOutdated: all of it was
// pruned since.
Result<Pruned> pruned_of(TileSource& source, const Verifier& log, const Checkpoint& head);

}  // namespace sluice::audit
