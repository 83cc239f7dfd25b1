#include "control/store_copy.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include <fmt/format.h>

#include "control/store_files.h"

namespace sluice::control {
namespace {

constexpr int kPagesPerStep = 64;       // 256 KiB: well below what one sync takes
constexpr unsigned kStepsPerSync = 16;  // or the last sync would take as long as all of the copy

}  // namespace

Result<std::unique_ptr<StoreCopy>> StoreCopy::begin(sqlite3* source, const std::string& where) {
  // With its links resolved once, and none followed from then on: who owns the folder cannot lead
  // SQLite elsewhere.
  std::error_code ec;
  const std::filesystem::path given(where);
  const auto folder = std::filesystem::canonical(given.parent_path(), ec);
  if (ec || !given.has_filename()) {
    return fail(ErrorCode::kUsage, fmt::format("cannot write {}: {}", where,
                                               ec ? ec.message() : "it is not a file's name"));
  }
  const std::string path = (folder / given.filename()).string();
  if (exists(path)) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} exists already: a backup overwrites nothing", path));
  }
  std::unique_ptr<StoreCopy> out(new StoreCopy(path));
  out->fd_ =
      Fd(open(out->partial_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out->fd_) {
    if (errno == EEXIST) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} exists already: another backup is being written there, or one "
                              "was interrupted; remove it",
                              out->partial_));
    }
    return system_error("write", out->partial_);
  }
  out->created_ = true;
  sqlite3* handle = nullptr;
  const int rc = sqlite3_open_v2(
      out->partial_.c_str(), &handle,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  out->copy_.reset(handle);
  // No journal and no syncs of SQLite's: until it is renamed nobody takes the file for a backup.
  if (rc != SQLITE_OK || execute(handle,
                                 "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;"
                                 "PRAGMA locking_mode = EXCLUSIVE") != SQLITE_OK) {
    return out->failed();
  }
  out->backup_.reset(sqlite3_backup_init(handle, "main", source, "main"));
  if (!out->backup_) return out->failed();
  return out;
}

StoreCopy::~StoreCopy() {
  if (created_) unlink(partial_.c_str());
}

tl::unexpected<Error> StoreCopy::failed() const {
  return fail(ErrorCode::kStore,
              fmt::format("cannot write {}: {}", partial_, sqlite3_errmsg(copy_.get())));
}

Result<bool> StoreCopy::step() {
  const int rc = sqlite3_backup_step(backup_.get(), kPagesPerStep);
  if (rc == SQLITE_DONE) return true;
  if (rc != SQLITE_OK) {
    // The step's own code: the connection's message may be of something earlier.
    return fail(ErrorCode::kStore,
                fmt::format("cannot copy the store to {}: {}", partial_, sqlite3_errstr(rc)));
  }
  if (++steps_ % kStepsPerSync == 0 && fdatasync(fd_.get()) != 0) {
    return system_error("sync", partial_);
  }
  return false;
}

Result<uint64_t> StoreCopy::complete() {
  if (sqlite3_backup_finish(backup_.release()) != SQLITE_OK) return failed();
  copy_.reset();
  struct stat st {};
  if (fsync(fd_.get()) != 0 || fstat(fd_.get(), &st) != 0) return system_error("sync", partial_);
  // Fails, too, where something took the name meanwhile; rename() would replace it.
  if (link(partial_.c_str(), path_.c_str()) != 0) {
    const bool no_links = errno == EPERM || errno == EOPNOTSUPP;
    if (!no_links ||
        renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) != 0) {
      return system_error("complete", path_);
    }
  }
  if (auto ok = sync_folders_of(path_); !ok) {
    unlink(path_.c_str());
    return tl::unexpected(ok.error());
  }
  return static_cast<uint64_t>(st.st_size);
}

}  // namespace sluice::control
