#include "control/store_restore.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>

#include "control/store_database.h"
#include "control/store_files.h"

namespace sluice::control {
namespace {

constexpr uint32_t kFeedBatch = 1000;

// Removes what was begun and not finished.
struct Draft {
  std::string path;
  bool kept = false;
  ~Draft() {
    if (kept) return;
    for (const char* end : {"", "-wal", "-shm", "-journal"}) unlink((path + end).c_str());
  }
};

Result<void> copy_file(const std::string& from, const std::string& to) {
  const Fd in(open(from.c_str(), O_RDONLY | O_CLOEXEC));
  if (!in) return system_error("read", from);
  struct stat st {};
  if (fstat(in.get(), &st) != 0) return system_error("read", from);
  if (!S_ISREG(st.st_mode)) return fail(ErrorCode::kStore, from + " is not a regular file");
  const Fd out(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return system_error("create", to);
  for (;;) {
    const ssize_t n = copy_file_range(in.get(), nullptr, out.get(), nullptr, 1u << 30, 0);
    if (n == 0) break;
    if (n < 0 && errno != EINTR) return system_error("write", to);
  }
  if (fsync(out.get()) != 0) return system_error("sync", to);
  return {};
}

// What the store that stands there knows and the backup does not.
Result<void> compare(Database& present, Database& backup, uint64_t known, RestoreReport& report,
                     bool forget) {
  if (known > 0) {
    auto mine = present.feed(known - 1, 1);
    auto its = backup.feed(known - 1, 1);
    if (!mine) return tl::unexpected(mine.error());
    if (!its) return tl::unexpected(its.error());
    const bool same = !mine->empty() && !its->empty() && mine->front() == its->front();
    if (!mine->empty() && !same && !forget) {
      return fail(ErrorCode::kRefused,
                  "the backup is of another store than the one that stands there: its last change "
                  "is not among that one's; --forget-changes restores it all the same");
    }
  }
  for (uint64_t after = known;;) {
    auto entries = present.feed(after, kFeedBatch);
    if (!entries) return tl::unexpected(entries.error());
    for (const FeedEntry& e : *entries) {
      ++report.forgotten_changes;
      if (e.kind == "agent_revoked" || e.kind == "pair_revoked") ++report.forgotten_revocations;
    }
    if (entries->size() < kFeedBatch) break;
    after = entries->back().sequence;
  }
  if (report.forgotten_changes > 0 && !forget) {
    return fail(
        ErrorCode::kRefused,
        fmt::format("the store that stands there has {} changes that were made after the backup, "
                    "{} of them revocations: they would be forgotten; --forget-changes goes on",
                    report.forgotten_changes, report.forgotten_revocations));
  }
  return {};
}

Result<void> move_away(const std::string& path, const std::string& to) {
  // The log last: a log without its file is an error that says so, a file without its log is not.
  for (const char* end : {"", "-wal"}) {
    if (exists(path + end) && rename((path + end).c_str(), (to + end).c_str()) != 0) {
      return system_error("move", path + end);
    }
  }
  return {};
}

}  // namespace

Result<RestoreReport> restore_store(const std::string& backup, const std::string& directory,
                                    bool forget) {
  if (auto ok = make_folder(directory, 0700); !ok) return tl::unexpected(ok.error());
  auto lock = lock_directory(directory);
  if (!lock) return tl::unexpected(std::move(lock.error()));
  const std::string path = store_path(directory);
  Draft draft{path + ".restored"};
  // Of a restore that was interrupted.
  for (const char* end : {"", "-wal", "-shm", "-journal"}) unlink((draft.path + end).c_str());
  if (auto ok = copy_file(backup, draft.path); !ok) return tl::unexpected(ok.error());

  RestoreReport report;
  {
    auto copy = Database::open(draft.path);
    if (!copy) {
      std::string why = copy.error().message;
      if (const size_t at = why.find(draft.path); at != std::string::npos) {
        why.replace(at, draft.path.size(), backup);
      }
      return fail(copy.error().code, why);
    }
    if (auto ok = (*copy)->check_everything(); !ok) {
      return fail(ErrorCode::kStore, fmt::format("{} is damaged: {}", backup, ok.error().message));
    }
    auto contents = (*copy)->load();
    if (!contents) return tl::unexpected(std::move(contents.error()));
    auto last = (*copy)->last_change();
    if (!last) return tl::unexpected(std::move(last.error()));
    report.changes = *last;
    report.agents = contents->agents.size();
    report.revoked = contents->revocations.size();
    if (exists(path)) {
      auto present = Database::open(path);
      auto ok = present ? compare(**present, **copy, *last, report, forget)
                        : Result<void>(tl::unexpected(present.error()));
      const bool final = !ok && (ok.error().code == ErrorCode::kRefused ||
                                 ok.error().code == ErrorCode::kConflict);
      if (final) return tl::unexpected(ok.error());
      if (!ok) report.damage = ok.error().message;
    }
  }
  if (exists(path) || exists(path + "-wal")) {
    const std::string name = fmt::format("{}.replaced-{}", path, std::time(nullptr));
    report.replaced = name;
    for (unsigned n = 2; exists(report.replaced); ++n)
      report.replaced = fmt::format("{}-{}", name, n);
    if (auto ok = move_away(path, report.replaced); !ok) return tl::unexpected(ok.error());
  }
  if (rename(draft.path.c_str(), path.c_str()) != 0) return system_error("restore", path);
  draft.kept = true;
  if (auto ok = sync_folders_of(path); !ok) return tl::unexpected(ok.error());
  return report;
}

}  // namespace sluice::control
