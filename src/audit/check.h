// Whether a log is what it says: every record that is kept, every tile, the root, that it continues
// an earlier one, and that what is missing was pruned by a record of the log's own. Reads all of
// it; may take minutes, while the log is written and pruned. Command-line thread.
#pragma once

#include <functional>
#include <optional>

#include "audit/note.h"
#include "audit/pruning.h"
#include "audit/tile_source.h"

namespace sluice::audit {

struct CheckOptions {
  std::optional<Checkpoint> earlier;  // that the log must continue
  std::function<void(uint64_t done, uint64_t size)> progress;
  std::function<void(uint64_t index, const Record& record)> record;
  // What is gone; again where the log was pruned while it was read.
  std::function<void(const Pruned& pruned)> pruned;
};

// kStore: the sentence names the first record or tile that is not as it was signed, or is missing
// without a record that says so. kOutdated: the earlier checkpoint ends among records that were
// pruned, not at a bundle's edge, and cannot be compared; or all was pruned while it was read.
Result<Checkpoint> check_log(TileSource& source, const Verifier& log, const CheckOptions& options);

// That a record is in the log, for who has nothing but the log's verifier: C2SP's tlog-proof. The
// record itself, which the proof does not hold, in `record`. kNotFound: no record of that index, or
// it was pruned.
Result<std::string> prove(TileSource& source, const Verifier& log, uint64_t index, Record& record);
// Of such a text; the index in `index`, the log's checkpoint returned.
Result<Checkpoint> check_proof(std::string_view text, const Verifier& log, const Record& record,
                               uint64_t& index);

}  // namespace sluice::audit
