#include "audit/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"

namespace sluice::audit {
namespace {

constexpr uint64_t kTileOfTiles = uint64_t{kTileWidth} * kTileWidth;

tl::unexpected<Error> io_error(const char* what, const std::string& path) {
  return fail(ErrorCode::kStore, fmt::format("cannot {} {}: {}", what, path, strerror(errno)));
}

std::string journal_folder(const std::string& folder) {
  return folder + "/journal";
}
std::string journal_path(const std::string& folder, uint64_t base) {
  return fmt::format("{}/{:020}", journal_folder(folder), base);
}

bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

// Those of complete names, the newest first.
std::vector<std::string> journals_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(journal_folder(folder), ec)) {
    const std::string name = entry.path().filename().string();
    const bool digits =
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (name.size() == 20 && digits) out.push_back(entry.path().string());
  }
  std::sort(out.rbegin(), out.rend());
  return out;
}

Bytes bytes_of(const std::vector<Hash>& hashes) {
  return {reinterpret_cast<const uint8_t*>(hashes.data()), hashes.size() * sizeof(Hash)};
}

Result<void> write_plainly(const std::string& path, Bytes content) {
  const Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!fd) return io_error("create", path);
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return io_error("write", path);
    done += static_cast<size_t>(n);
  }
  return {};
}

}  // namespace

std::string key_path(const std::string& folder) {
  return folder + "/audit.key";
}
std::string verifier_path(const std::string& folder) {
  return folder + "/audit.vkey";
}
std::string checkpoint_path(const std::string& folder) {
  return folder + "/checkpoint";
}

Log::Log(std::string folder, Signer signer, uint64_t journal_records)
    : folder_(std::move(folder)), signer_(std::move(signer)), journal_records_(journal_records) {}

Result<std::unique_ptr<Log>> Log::open(const std::string& folder, const std::string& origin,
                                       uint64_t journal_records) {
  for (const auto& f : {folder, journal_folder(folder)}) {
    if (auto ok = make_folder(f, 0700); !ok) {
      return fail(ErrorCode::kStore, "the audit log: " + ok.error().message);
    }
  }
  const bool has_log =
      exists(checkpoint_path(folder)) || exists(folder + "/tile") || !journals_in(folder).empty();
  if (!exists(key_path(folder))) {
    if (has_log) {
      return fail(ErrorCode::kStore,
                  fmt::format("{} is missing, without which the log beside it cannot go on: put it "
                              "back, or move the folder {} away to begin another log",
                              key_path(folder), folder));
    }
    auto fresh = Signer::generate(origin);
    if (!fresh) return tl::unexpected(std::move(fresh.error()));
    if (auto ok = fresh->save(key_path(folder)); !ok) return tl::unexpected(std::move(ok.error()));
  }
  auto signer = Signer::load(key_path(folder));
  if (!signer) return tl::unexpected(std::move(signer.error()));
  std::unique_ptr<Log> log(new Log(folder, std::move(*signer), journal_records));
  const std::string verifier = log->verifier().text() + "\n";
  const auto present = read_file(verifier_path(folder), 1024);
  if (!present || *present != verifier) {
    if (auto ok = write_file(verifier_path(folder), as_bytes(verifier), 0644); !ok) {
      return tl::unexpected(std::move(ok.error()));
    }
  }
  if (auto ok = log->recover(); !ok) return tl::unexpected(std::move(ok.error()));
  return log;
}

void Log::start_at(const JournalStart& start) {
  edge_ = Edge();
  for (auto& t : tiles_) t.clear();
  bundle_.clear();
  written_ = {};
  journal_base_ = start.base;
  last_change_ = start.last_change;
  // A hash in a tile stands for a subtree whose height is a multiple of a tile's.
  for (const Subtree& s : start.subtrees) {
    const unsigned level = s.height / kTileHeight;
    if (level < tiles_.size()) tiles_[level].push_back(s.hash);
    edge_.append(s.hash, s.height, [](unsigned, const Hash&) {});
  }
}

Result<void> Log::recover() {
  const auto journals = journals_in(folder_);
  std::optional<Checkpoint> signed_before;
  if (exists(checkpoint_path(folder_))) {
    const auto text = read_file(checkpoint_path(folder_), 64u << 10);
    if (!text) return tl::unexpected(text.error());
    auto opened = open_note(*text, verifier());
    if (!opened) {
      return fail(ErrorCode::kStore,
                  fmt::format("{}: {}", checkpoint_path(folder_), opened.error().message));
    }
    signed_before = std::move(*opened);
  }
  if (journals.empty()) {
    if (signed_before) {
      return fail(ErrorCode::kStore,
                  fmt::format("the audit log in {} was signed with {} records, but its journal is "
                              "missing: put the folder back as it was",
                              folder_, signed_before->size));
    }
    opened_.fresh = true;
    published_ = {verifier().origin, 0, edge_.root()};
    return begin_journal();
  }
  // Tiles are as the checkpoint has them after a stop; after a crash some may not be on disk.
  Record last{};
  std::optional<Hash> root_then;
  Result<void> taken;
  // Looked at first, so that tiles are written only where they may be missing.
  {
    auto look = Journal::open(
        journals[0], false, [](const JournalStart&) {},
        [&](std::span<const Record> r, std::span<const Hash>) { last = r.back(); });
    if (!look) return tl::unexpected(look.error());
  }
  opened_.crashed = header_of(last).kind != Kind::kClosed;
  opened_.last_ms = header_of(last).time_ms;
  writes_tiles_ = opened_.crashed;
  const uint64_t size_then = signed_before ? signed_before->size : 0;
  auto journal = Journal::open(
      journals[0], true,
      [&](const JournalStart& s) {
        start_at(s);
        if (edge_.size() == size_then) root_then = edge_.root();
      },
      [&](std::span<const Record> records, std::span<const Hash> hashes) {
        // The root is wanted at one size, which need not be a batch's end.
        for (size_t i = 0; i < records.size() && taken;) {
          size_t n = records.size() - i;
          if (size_then > edge_.size()) n = std::min<size_t>(n, size_then - edge_.size());
          taken = take_in(records.subspan(i, n), hashes.subspan(i, n));
          if (edge_.size() == size_then) root_then = edge_.root();
          i += n;
        }
      });
  if (!journal) return tl::unexpected(journal.error());
  if (!taken) return taken;
  if (signed_before) {
    if (edge_.size() < size_then) {
      return fail(ErrorCode::kStore,
                  fmt::format("the audit log in {} was signed with {} records and holds {}: put "
                              "back what was taken away",
                              folder_, size_then, edge_.size()));
    }
    if (root_then != signed_before->root) {
      return fail(ErrorCode::kStore,
                  fmt::format("the audit log in {} is not the one whose {} records were signed: "
                              "records were changed",
                              folder_, size_then));
    }
    published_ = *signed_before;
  } else {
    if (journal_base_ != 0) {
      return fail(ErrorCode::kStore,
                  fmt::format("{} is missing: put it back", checkpoint_path(folder_)));
    }
    published_ = {verifier().origin, 0, Edge().root()};
  }
  journal_ = std::move(*journal);
  // What is on disk of partial tiles is not known.
  written_ = {};
  has_partial_.fill(true);
  writes_tiles_ = true;
  if (opened_.crashed) {
    if (auto ok = sync_tiles(); !ok) return ok;
  }
  for (size_t i = 1; i < journals.size(); ++i) unlink(journals[i].c_str());
  return {};
}

Result<void> Log::begin_journal() {
  JournalStart start{edge_.size(), last_change_, {}};
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

Result<void> Log::append(std::span<const Record> records) {
  if (broken_) return fail(ErrorCode::kStore, "the audit log has to be opened again");
  std::array<Hash, Journal::kMostInBatch> hashes;
  while (!records.empty()) {
    size_t n = std::min<size_t>(records.size(), Journal::kMostInBatch);
    n = std::min<size_t>(n, kTileOfTiles - edge_.size() % kTileOfTiles);
    for (size_t i = 0; i < n; ++i) hashes[i] = leaf_hash(records[i]);
    const auto batch = records.subspan(0, n);
    const std::span<const Hash> of_batch(hashes.data(), n);
    // A disk that is full has taken nothing: the same may be tried again.
    if (auto ok = journal_->append(edge_.size(), batch, of_batch); !ok) {
      broken_ = journal_->broken();
      return ok;
    }
    if (auto ok = broken_on_failure(take_in(batch, of_batch)); !ok) return ok;
    records = records.subspan(n);
    if (edge_.size() - journal_base_ >= journal_records_ && edge_.size() % kTileOfTiles == 0) {
      if (auto ok = publish(); !ok) return ok;
      if (auto ok = broken_on_failure(sync_tiles()); !ok) return ok;
      if (auto ok = broken_on_failure(begin_journal()); !ok) return ok;
    }
  }
  return {};
}

// Of records that are in the journal.
Result<void> Log::take_in(std::span<const Record> records, std::span<const Hash> hashes) {
  Result<void> ok;
  for (size_t i = 0; i < records.size() && ok; ++i) {
    if (records[i][1] == static_cast<uint8_t>(Kind::kChange)) {
      last_change_ = {sequence_of(records[i]), digest_of(records[i])};
    }
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
  if (!ok || !writes_tiles_ || !has_partial_[level]) return ok;
  has_partial_[level] = false;
  for (const Tile& t : done) {
    std::error_code ec;
    std::filesystem::remove_all(fmt::format("{}/{}.p", folder_, path_of(t)), ec);
  }
  return {};
}

Result<void> Log::write_tile(const Tile& tile, Bytes content) {
  if (!writes_tiles_) return {};
  const std::string path = fmt::format("{}/{}", folder_, path_of(tile));
  std::string parent = path.substr(0, path.rfind('/'));
  if (parent != last_folder_) {
    std::error_code ec;
    std::filesystem::create_directories(parent, ec);
    if (ec)
      return fail(ErrorCode::kStore, fmt::format("cannot create {}: {}", parent, ec.message()));
    last_folder_ = std::move(parent);
  }
  return write_plainly(path, content);
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
  if (!fd || syncfs(fd.get()) != 0) return io_error("sync", folder_);
  return {};
}

Result<void> Log::sync() {
  if (broken_) return fail(ErrorCode::kStore, "the audit log has to be opened again");
  return broken_on_failure(journal_->sync());
}

Result<void> Log::publish() {
  if (published_.size == edge_.size() && edge_.size() != 0) return {};
  if (auto ok = sync(); !ok) return ok;
  // A signature over what a crash could take back would be a second history.
  if (auto ok = broken_on_failure(write_partial_tiles()); !ok) return ok;
  const Checkpoint now{verifier().origin, edge_.size(), edge_.root()};
  const std::string text = sign(now, signer_);
  if (auto ok = write_file(checkpoint_path(folder_), as_bytes(text), 0644); !ok) {
    return broken_on_failure(fail(ErrorCode::kStore, ok.error().message));
  }
  published_ = now;
  return {};
}

Result<void> Log::close() {
  if (auto ok = publish(); !ok) return ok;
  return sync_tiles();
}

Result<std::optional<LastChange>> last_change_of(const std::string& folder) {
  const auto journals = journals_in(folder);
  if (journals.empty()) return std::nullopt;
  LastChange last;
  auto journal = Journal::open(
      journals[0], false, [&](const JournalStart& s) { last = s.last_change; },
      [&](std::span<const Record> records, std::span<const Hash>) {
        for (const Record& r : records) {
          if (r[1] == static_cast<uint8_t>(Kind::kChange)) last = {sequence_of(r), digest_of(r)};
        }
      });
  if (!journal) return tl::unexpected(journal.error());
  return last;
}

}  // namespace sluice::audit
