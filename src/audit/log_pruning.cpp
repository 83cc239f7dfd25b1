// What a log may forget: said in the log, signed and named before the first file goes, so that
// whatever happens in between, what is missing is explained or nothing is.
#include <unistd.h>

#include <algorithm>

#include "audit/log.h"
#include "audit/log_files.h"
#include "base/file.h"

namespace sluice::audit {
namespace {

constexpr uint64_t kInFolder = 1000;  // tlog-tiles: three digits of an index

// Folders that the bundle before `index` has left empty; one that is not stays.
void remove_folders(std::string path, uint64_t index) {
  for (; index % kInFolder == 0 && index > kInFolder; index /= kInFolder) {
    path.resize(path.rfind('/'));
    rmdir(path.c_str());
  }
}

}  // namespace

uint64_t Log::prunable() const {
  const uint64_t all = std::min(published_.size, journal_base_);
  return all - all % kTileWidth;
}

Result<void> Log::rotate_soon() {
  const bool whole = edge_.size() % kTileWidth == 0 && edge_.size() != journal_base_;
  rotate_ = !whole;
  return whole ? rotate() : Result<void>();
}

Result<void> Log::prune(Prune why, uint64_t to, uint64_t limit, uint64_t now_ms) {
  if (to % kTileWidth != 0 || to <= first_ || to > prunable() || removing() || said_) {
    return fail(ErrorCode::kInternal,
                fmt::format("the audit log cannot be pruned up to record {}", to));
  }
  const Record said = record_of(Pruning{why, now_ms, first_, to, limit});
  size_t taken = 0;
  if (auto ok = append(std::span(&said, 1), taken); !ok) return ok;
  return publish();
}

// Only once a checkpoint is signed that covers the record: who reads the file finds it in there.
Result<void> Log::name_pruning() {
  if (!said_) return {};
  const std::string text = pruning_text(said_->record);
  if (auto ok = write_file(pruned_path(folder_), as_bytes(text), 0644); !ok) {
    return broken_on_failure(fail(ErrorCode::kStore, ok.error().message));
  }
  first_ = said_->first();
  removing_ = said_->what.from;
  said_.reset();
  return {};
}

Result<void> Log::remove_some(unsigned bundles) {
  for (; bundles > 0 && removing(); --bundles, removing_ += kTileWidth) {
    const uint64_t index = removing_ / kTileWidth;
    for (const Tile& tile : {Tile{std::nullopt, index}, Tile{0, index}}) {
      const std::string path = fmt::format("{}/{}", folder_, path_of(tile));
      if (unlink(path.c_str()) != 0 && errno != ENOENT) return io_error("remove", path);
      remove_folders(path, index + 1);
    }
  }
  return {};
}

}  // namespace sluice::audit
