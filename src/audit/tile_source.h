// Where a log is read from: a folder, or a relay that serves it. Both give what was published, as
// untrusted bytes. May wait for disk or network; used by one thread at a time.
#pragma once

#include <string>
#include <vector>

#include "audit/merkle.h"
#include "audit/record.h"
#include "audit/tile.h"
#include "base/error.h"

namespace sluice::audit {

class TileSource {
 public:
  virtual ~TileSource() = default;
  virtual Result<std::string> checkpoint() = 0;
  // The file that names the record by which the log was pruned last. kNotFound: it never was.
  virtual Result<std::string> pruned() = 0;
  // kNotFound: there is none.
  virtual Result<std::string> read(const Tile& tile) = 0;
};

class FolderSource : public TileSource {
 public:
  explicit FolderSource(std::string folder) : folder_(std::move(folder)) {}
  Result<std::string> checkpoint() override;
  Result<std::string> pruned() override;
  Result<std::string> read(const Tile& tile) override;

 private:
  const std::string folder_;
};

// A tile or bundle in a tree of `size`: the partial one, or the whole one that took its place; at
// least as many as the tree has. kNotFound: it is missing, a sentence without an end; kStore: not
// of that form.
Result<std::vector<Hash>> read_hashes(TileSource& source, unsigned level, uint64_t index,
                                      uint64_t size);
Result<std::vector<Record>> read_records(TileSource& source, uint64_t index, uint64_t size);

// Complete subtrees of a tree of `size`, out of its tiles. `source` must outlive it.
SubtreeHash subtrees_of(TileSource& source, uint64_t size);

}  // namespace sluice::audit
