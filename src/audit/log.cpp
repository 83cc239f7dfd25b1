#include "audit/log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "audit/log_files.h"
#include "base/file.h"

namespace sluice::audit {
namespace {

constexpr uint64_t kTileOfTiles = uint64_t{kTileWidth} * kTileWidth;

Bytes bytes_of(const std::vector<Hash>& hashes) {
  return {reinterpret_cast<const uint8_t*>(hashes.data()), hashes.size() * sizeof(Hash)};
}

Result<void> write_plainly(const std::string& path, Bytes content) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!fd) return io_error("create", path);
  if (!write_all(fd, content)) return io_error("write", path);
  return {};
}

}  // namespace

Log::Log(std::string folder, Fd lock, Signer signer, uint64_t journal_records)
    : folder_(std::move(folder)),
      lock_(std::move(lock)),
      signer_(std::move(signer)),
      journal_records_(journal_records) {}

Result<void> Log::begin_journal() {
  JournalStart start{edge_.size(), last_change_, last_kind_, last_ms_, {}};
  for (unsigned level = static_cast<unsigned>(tiles_.size()); level-- > 0;) {
    for (const Hash& h : tiles_[level]) start.subtrees.push_back({level * kTileHeight, h});
  }
  const std::string old = journal_ ? journal_->path() : "";
  auto journal = Journal::create(journal_path(folder_, edge_.size()), start);
  if (!journal) return tl::unexpected(journal.error());
  journal_ = std::move(*journal);
  journal_base_ = edge_.size();
  if (!old.empty() && old != journal_->path()) unlink(old.c_str());
  return {};
}

Result<void> Log::broken_on_failure(Result<void> r) {
  if (!r) broken_ = true;
  return r;
}

Result<void> Log::append(std::span<const Record> records, size_t& taken) {
  taken = 0;
  if (broken_) return fail(ErrorCode::kStore, "the audit log has to be opened again");
  std::array<Hash, Journal::kMostInBatch> hashes;
  while (!records.empty()) {
    size_t n = std::min<size_t>(records.size(), Journal::kMostInBatch);
    n = std::min<size_t>(n, kTileOfTiles - edge_.size() % kTileOfTiles);
    if (rotate_) n = std::min<size_t>(n, kTileWidth - edge_.size() % kTileWidth);
    for (size_t i = 0; i < n; ++i) hashes[i] = leaf_hash(records[i]);
    const auto batch = records.subspan(0, n);
    const std::span<const Hash> of_batch(hashes.data(), n);
    // A disk that is full has taken nothing: the same may be tried again.
    if (auto ok = journal_->append(edge_.size(), batch, of_batch); !ok) {
      broken_ = journal_->broken();
      return ok;
    }
    taken += n;
    if (auto ok = broken_on_failure(take_in(batch, of_batch)); !ok) return ok;
    records = records.subspan(n);
    const bool full = edge_.size() - journal_base_ >= journal_records_;
    if ((full && edge_.size() % kTileOfTiles == 0) || (rotate_ && edge_.size() % kTileWidth == 0)) {
      if (auto ok = rotate(); !ok) return ok;
    }
  }
  return {};
}

// What the journal held is signed and on disk before it goes.
Result<void> Log::rotate() {
  rotate_ = false;
  if (auto ok = publish(); !ok) return ok;
  if (auto ok = broken_on_failure(sync_tiles()); !ok) return ok;
  return broken_on_failure(begin_journal());
}

// Of records that are in the journal.
Result<void> Log::take_in(std::span<const Record> records, std::span<const Hash> hashes) {
  Result<void> ok;
  last_kind_ = records.back()[1];
  last_ms_ = header_of(records.back()).time_ms;
  for (size_t i = 0; i < records.size() && ok; ++i) {
    if (records[i][1] == static_cast<uint8_t>(Kind::kChange)) {
      last_change_ = {sequence_of(records[i]), digest_of(records[i])};
    }
    if (is_pruning(records[i], edge_.size())) said_ = {edge_.size(), pruning_of(records[i])};
    uint8_t size[2];
    store_be16(size, kRecordSize);
    bundle_.insert(bundle_.end(), size, size + 2);
    bundle_.insert(bundle_.end(), records[i].begin(), records[i].end());
    const uint64_t after = edge_.size() + 1;
    edge_.append(hashes[i], 0, [&](unsigned height, const Hash& hash) {
      const unsigned level = height / kTileHeight;
      if (height % kTileHeight != 0 || level >= tiles_.size()) return;
      tiles_[level].push_back(hash);
      if (tiles_[level].size() == kTileWidth && ok) ok = finish_tile(level, after);
    });
  }
  return ok;
}

// One that is whole, in a tree of that size; partial ones of it are not needed any more.
Result<void> Log::finish_tile(unsigned level, uint64_t size) {
  const uint64_t index = (size >> (kTileHeight * (level + 1))) - 1;
  std::vector<Tile> done{{level, index}};
  Result<void> ok = write_tile(done[0], bytes_of(tiles_[level]));
  tiles_[level].clear();
  written_[level] = 0;
  if (level == 0) {
    done.push_back({std::nullopt, index});
    if (ok) ok = write_tile(done[1], bundle_);
    bundle_.clear();
  }
  // What a crash left of earlier sizes is not known.
  const bool partial = has_partial_[level] || mode_ == Tiles::kRepair;
  if (!ok || mode_ == Tiles::kLeave || !partial) return ok;
  has_partial_[level] = false;
  for (const Tile& t : done) {
    std::error_code ec;
    std::filesystem::remove_all(fmt::format("{}/{}.p", folder_, path_of(t)), ec);
  }
  return {};
}

Result<void> Log::write_tile(const Tile& tile, Bytes content) {
  if (mode_ == Tiles::kLeave) return {};
  const std::string path = fmt::format("{}/{}", folder_, path_of(tile));
  std::string parent = path.substr(0, path.rfind('/'));
  if (parent != last_folder_) {
    std::error_code ec;
    std::filesystem::create_directories(parent, ec);
    if (ec)
      return fail(ErrorCode::kStore, fmt::format("cannot create {}: {}", parent, ec.message()));
    last_folder_ = std::move(parent);
  }
  if (mode_ == Tiles::kWrite && tile.width == kTileWidth) return write_plainly(path, content);
  // It may be published already: it is there, whole, at every moment.
  const std::string fresh = path + ".new";
  if (auto ok = write_plainly(fresh, content); !ok) return ok;
  if (rename(fresh.c_str(), path.c_str()) != 0) return io_error("rename to", path);
  return {};
}

Result<void> Log::write_partial_tiles() {
  for (unsigned level = 0; level < tiles_.size(); ++level) {
    const auto width = static_cast<unsigned>(tiles_[level].size());
    if (width == written_[level]) continue;
    const uint64_t index = edge_.size() >> (kTileHeight * (level + 1));
    if (auto ok = write_tile({level, index, width}, bytes_of(tiles_[level])); !ok) return ok;
    if (level == 0) {
      if (auto ok = write_tile({std::nullopt, index, width}, bundle_); !ok) return ok;
    }
    written_[level] = width;
    has_partial_[level] = true;
  }
  return {};
}

// Of the whole file system: one call, however many tiles there are.
Result<void> Log::sync_tiles() {
  const Fd fd(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd && syncfs(fd.get()) == 0) return {};
  sync_failed_ = true;
  return io_error("sync", folder_);
}

Result<void> Log::sync() {
  if (broken_) return fail(ErrorCode::kStore, "the audit log has to be opened again");
  if (!journal_->in_place()) {
    return broken_on_failure(fail(
        ErrorCode::kStore, fmt::format("the audit log's {} was moved away", journal_->path())));
  }
  auto ok = broken_on_failure(journal_->sync());
  sync_failed_ = sync_failed_ || !ok;
  return ok;
}

Result<void> Log::sign_now() {
  const Checkpoint now{verifier().origin, edge_.size(), edge_.root()};
  const std::string text = sign(now, signer_);
  if (auto ok = write_file(checkpoint_path(folder_), as_bytes(text), 0644); !ok) {
    return broken_on_failure(fail(ErrorCode::kStore, ok.error().message));
  }
  published_ = now;
  return {};
}

Result<void> Log::publish() {
  if (published_.size == edge_.size() && edge_.size() != 0) return name_pruning();
  // A signature over what a crash could take back would be a second history.
  if (auto ok = sync(); !ok) return ok;
  if (auto ok = broken_on_failure(write_partial_tiles()); !ok) return ok;
  if (auto ok = sign_now(); !ok) return ok;
  return name_pruning();
}

// The signature at the size of the last record is what tells a stop from a crash: all that it
// stands for is on disk before.
Result<void> Log::close() {
  if (auto ok = sync(); !ok) return ok;
  if (auto ok = broken_on_failure(write_partial_tiles()); !ok) return ok;
  if (auto ok = broken_on_failure(sync_tiles()); !ok) return ok;
  return sign_now();
}

}  // namespace sluice::audit
