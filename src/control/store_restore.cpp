#include "control/store_restore.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <ctime>

#include <fmt/format.h>

#include "audit/log.h"
#include "audit/record.h"
#include "control/store_database.h"
#include "control/store_feed.h"
#include "control/store_files.h"

namespace sluice::control {
namespace {

constexpr uint32_t kFeedBatch = 1000;
constexpr size_t kCopyBytes = 1u << 20;
constexpr const char* kCompanions[] = {"-wal", "-shm", "-journal"};

// The copy that is checked before it is put in place; removed unless it was.
struct Draft {
  std::string path;
  bool kept = false;
  ~Draft() {
    if (!kept) remove();
  }
  void remove() const {
    unlink(path.c_str());
    for (const char* end : kCompanions) unlink((path + end).c_str());
  }
};

// Root's restore must not lock out a relay that runs as somebody else.
Result<void> give_to_owner_of(const std::string& directory, const Fd& fd) {
  struct stat st {};
  if (geteuid() != 0) return {};
  if (stat(directory.c_str(), &st) != 0 || fchown(fd.get(), st.st_uid, st.st_gid) != 0) {
    return system_error("give to the owner of its folder a file in", directory);
  }
  return {};
}

bool same_file(const struct stat& a, const std::string& path) {
  struct stat b {};
  return stat(path.c_str(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

Result<Fd> open_backup(const std::string& backup, const std::string& path,
                       const std::string& draft) {
  Fd in(open(backup.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (!in || fstat(in.get(), &st) != 0) return system_error("read", backup);
  if (!S_ISREG(st.st_mode)) return fail(ErrorCode::kStore, backup + " is not a regular file");
  if (same_file(st, path) || same_file(st, draft)) {
    return fail(
        ErrorCode::kUsage,
        fmt::format("{} belongs to the state directory itself: move it away first", backup));
  }
  if (stat((backup + "-wal").c_str(), &st) == 0 && st.st_size > 0) {
    return fail(
        ErrorCode::kStore,
        fmt::format("{0} is no finished backup: what it lacks is in {0}-wal; give a file that "
                    "sluicectl backup wrote",
                    backup));
  }
  return in;
}

Result<void> copy_file(const Fd& in, const std::string& from, const std::string& to,
                       const std::string& directory) {
  const Fd out(open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!out) return system_error("create", to);
  if (auto ok = give_to_owner_of(directory, out); !ok) return ok;
  Buffer chunk(kCopyBytes);
  for (;;) {
    const ssize_t n = read(in.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error("read", from);
    if (n == 0) break;
    if (!write_all(out, Bytes(chunk).first(static_cast<size_t>(n)))) {
      return system_error("write", to);
    }
  }
  if (fsync(out.get()) != 0) return system_error("sync", to);
  return {};
}

// The last entry up to which two feeds are the same.
Result<uint64_t> common_entries(Database& a, Database& b) {
  for (uint64_t after = 0;;) {
    const auto mine = a.feed(after, kFeedBatch);
    const auto its = b.feed(after, kFeedBatch);
    if (!mine) return tl::unexpected(mine.error());
    if (!its) return tl::unexpected(its.error());
    const size_t both = std::min(mine->size(), its->size());
    for (size_t i = 0; i < both; ++i) {
      if (!((*mine)[i] == (*its)[i])) return after;
      after = (*mine)[i].sequence;
    }
    if (both < kFeedBatch) return after;
  }
}

// What the store that stands there knows and the backup does not.
Result<void> compare(Database& present, Database& backup, RestoreReport& report) {
  auto known = common_entries(present, backup);
  if (!known) return tl::unexpected(std::move(known.error()));
  report.forked = *known < report.changes;
  for (uint64_t after = *known;;) {
    auto entries = present.feed(after, kFeedBatch);
    if (!entries) return tl::unexpected(std::move(entries.error()));
    for (const FeedEntry& e : *entries) {
      // That something was forgotten is no news to a backup that has it.
      if (const auto mark = forgotten_by(e); mark && mark->forgotten <= report.changes) continue;
      report.present = e.sequence;
      ++report.forgotten_changes;
      if (e.kind == "agent_revoked" || e.kind == "pair_revoked") ++report.forgotten_revocations;
      if (e.kind == "identity_rotated" || e.kind.starts_with("relay_key")) ++report.forgotten_keys;
    }
    if (entries->size() < kFeedBatch) break;
    after = entries->back().sequence;
  }
  if (report.forgotten_changes == 0) report.forked = false;  // the backup is the newer one
  return {};
}

// Reads the store that stands there, as far as that can be done.
Result<void> look_at_present(const std::string& path, const std::string& directory,
                             Database& backup, RestoreReport& report, bool forget) {
  const auto read_it = [&]() -> Result<void> {
    // What stands there then may be without its log, or the copy of before.
    if (exists(restore_marker(directory))) {
      return fail(ErrorCode::kStore, "a restore was interrupted");
    }
    auto present = Database::open(path);
    if (!present) return tl::unexpected(present.error());
    const auto contents = (*present)->load();
    if (!contents) return tl::unexpected(contents.error());
    report.audit_size = contents->audit.size;
    report.audit_root = contents->audit.root;
    report.audit_ms = contents->audit.at_ms;
    report.present_read = true;
    return compare(**present, backup, report);
  };
  const auto ok = read_it();
  if (!ok && ok.error().code == ErrorCode::kConflict) return ok;
  if (!ok) report.damage = ok.error().message;
  if (forget) return {};
  if (!ok) {
    return fail(ErrorCode::kRefused,
                fmt::format("the store that stands there cannot be read, so what it knows would be "
                            "forgotten ({}); --forget-changes goes on",
                            report.damage));
  }
  if (report.forked) {
    return fail(
        ErrorCode::kRefused,
        fmt::format("the backup is of another store than the one that stands there, or of "
                    "another branch of it: {} of its changes, {} of them revocations, would "
                    "be forgotten; --forget-changes goes on",
                    report.forgotten_changes, report.forgotten_revocations));
  }
  if (report.forgotten_changes > 0) {
    return fail(
        ErrorCode::kRefused,
        fmt::format("the store that stands there has {} changes that were made after the backup, "
                    "{} of them revocations: they would be forgotten; --forget-changes goes on",
                    report.forgotten_changes, report.forgotten_revocations));
  }
  return {};
}

// Whether what the log recorded up to there is what the backup has.
Result<bool> same_history(const std::string& folder, Database& backup, uint64_t up_to) {
  for (;;) {
    const auto recorded = audit::last_change_of(folder, up_to);
    if (!recorded) return tl::unexpected(recorded.error());
    if (!*recorded) return true;
    const uint64_t sequence = (*recorded)->sequence;
    const auto found = backup.feed(sequence - 1, 1);
    if (!found) return tl::unexpected(found.error());
    if (found->empty()) return false;
    const FeedEntry& entry = found->front();
    if (entry.sequence == sequence) {
      return audit::digest_of(audit_change(entry)) == (*recorded)->digest;
    }
    // An earlier restore forgot it: what it kept is what counts.
    const auto mark = forgotten_by(entry);
    if (!mark || mark->kept >= sequence) return false;
    up_to = mark->kept;
  }
}

// What the audit log recorded and the backup does not know. A log goes on with the history that it
// recorded, or with less of it knowingly; not with another.
Result<void> look_at_audit(const std::string& folder, Database& backup, RestoreReport& report,
                           bool forget) {
  if (!audit::has_log(folder)) return {};
  auto lock = audit::lock_log(folder);
  if (!lock) return tl::unexpected(lock.error());
  const auto last = audit::last_change_of(folder);
  if (!last) return tl::unexpected(last.error());
  if (!*last) return {};
  report.audited = (*last)->sequence;
  const auto same = same_history(folder, backup, std::min(report.audited, report.changes));
  if (!same) return tl::unexpected(same.error());
  if (!*same) {
    return fail(ErrorCode::kRefused,
                fmt::format("the backup is of another history than the one that the audit log in "
                            "{} recorded: first give that log up (sluicectl audit begin-anew)",
                            folder));
  }
  if (report.audited <= report.changes) return {};
  if (forget) return {};
  return fail(ErrorCode::kRefused,
              fmt::format("the audit log in {} has recorded changes up to {}, and the backup knows "
                          "those up to {}: later ones would be forgotten; --forget-changes goes on",
                          folder, report.audited, report.changes));
}

uint64_t now_ms() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

Result<void> commit_alone(Database& database, const Changes& changes) {
  if (auto ok = database.begin(); !ok) return ok;
  if (auto ok = database.apply(changes); !ok) return ok;
  return database.commit();
}

// The backup's own faults, by its own name.
Result<std::unique_ptr<Database>> check_backup(const std::string& backup, const std::string& draft,
                                               const std::string& directory,
                                               RestoreReport& report) {
  const auto unfit = [&](const Error& e) {
    std::string why = e.message;
    for (size_t at; (at = why.find(draft)) != std::string::npos;) {
      why.replace(at, draft.size(), "it");
    }
    return fail(ErrorCode::kStore, fmt::format("{} cannot be restored: {}", backup, why));
  };
  auto copy = Database::open(draft);
  if (!copy) return unfit(copy.error());
  if (auto ok = (*copy)->check_everything(); !ok) return unfit(ok.error());
  auto contents = (*copy)->load();
  if (!contents) return unfit(contents.error());
  auto last = (*copy)->last_change();
  if (!last) return unfit(last.error());
  report.changes = *last;
  report.agents = contents->agents.size();
  report.revoked = contents->revocations.size();
  if (!contents->relay_keys.empty()) {
    const std::string key = later_key_path(directory, contents->relay_keys.back().key);
    if (!exists(key)) report.missing_key = key;
  }
  return std::move(*copy);
}

// The name under which the store that stands there is kept: the marker's, where a restore was
// interrupted, so that its log is not parted from it.
Result<std::string> kept_name(const std::string& path, const std::string& marker) {
  if (exists(marker)) {
    auto name = read_file(marker, 4096);
    if (!name) return tl::unexpected(name.error());
    if (name->starts_with(path)) return name;
  }
  const std::string name = fmt::format("{}.replaced-{}", path, std::time(nullptr));
  std::string out = name;
  for (unsigned n = 2; exists(out) || exists(out + "-wal"); ++n)
    out = fmt::format("{}-{}", name, n);
  return out;
}

// The marker first where there is a moment in which the store's name leads to nothing, or to one
// without its log: no relay starts then.
Result<void> keep_present(const std::string& path, const std::string& kept,
                          const std::string& marker) {
  const bool has_log = exists(path + "-wal");
  bool linked = !exists(path) || exists(kept) || link(path.c_str(), kept.c_str()) == 0;
  if (linked && !has_log) return {};
  if (!linked && errno != EPERM && errno != EOPNOTSUPP)
    return system_error("keep the store as", kept);
  if (auto ok = write_file(marker, as_bytes(kept), 0600); !ok) return ok;
  // File systems without hard links.
  if (!linked && rename(path.c_str(), kept.c_str()) != 0) {
    const auto error = system_error("keep the store as", kept);
    unlink(marker.c_str());
    return error;
  }
  if (has_log && rename((path + "-wal").c_str(), (kept + "-wal").c_str()) != 0) {
    return system_error("move", path + "-wal");
  }
  return {};
}

// Where the old store could be read it has no log left, and one rename is all there is to it.
Result<void> put_in_place(Draft& draft, const std::string& path, const std::string& marker,
                          RestoreReport& report) {
  if (exists(path) || exists(path + "-wal")) {
    auto kept = kept_name(path, marker);
    if (!kept) return tl::unexpected(kept.error());
    report.replaced = *kept;
    if (auto ok = keep_present(path, *kept, marker); !ok) return ok;
    if (auto ok = sync_folders_of(path); !ok) return ok;
  }
  if (rename(draft.path.c_str(), path.c_str()) != 0) return system_error("restore", path);
  draft.kept = true;
  if (auto ok = sync_folders_of(path); !ok) return ok;
  if (!exists(marker)) return {};
  if (unlink(marker.c_str()) != 0) return system_error("remove", marker);
  return sync_folders_of(path);
}

}  // namespace

Result<AuditGivenUp> give_up_audit_log(const std::string& directory, const std::string& folder,
                                       bool lost) {
  auto lock = lock_directory(directory);
  if (!lock && lock.error().code == ErrorCode::kConflict) {
    return fail(ErrorCode::kConflict,
                fmt::format("the state directory {} is in use: stop the relay first", directory));
  }
  if (!lock) return tl::unexpected(std::move(lock.error()));
  if (exists(restore_marker(directory))) {
    return fail(ErrorCode::kStore, fmt::format("a restore into {} was interrupted: repeat it first "
                                               "(sluicectl restore)",
                                               directory));
  }
  auto database = Database::open(store_path(directory));
  if (!database) return tl::unexpected(std::move(database.error()));
  const auto contents = (*database)->load();
  if (!contents) return tl::unexpected(contents.error());
  AuditGivenUp out{.kept = "", .size = contents->audit.size};
  if (audit::has_log(folder)) {
    auto log_lock = audit::lock_log(folder);
    if (!log_lock) return tl::unexpected(log_lock.error());
    // Within the folder, which may be where a disk is mounted. What is left of it after an
    // interruption is no log that a relay starts on.
    out.kept = fmt::format("{}/given-up-{}", folder, std::time(nullptr));
    if (mkdir(out.kept.c_str(), 0700) != 0) return system_error("create", out.kept);
    for (const char* part :
         {"audit.key", "checkpoint", "pruned", "journal", "tile", "audit.vkey"}) {
      const std::string from = fmt::format("{}/{}", folder, part);
      if (exists(from) && rename(from.c_str(), fmt::format("{}/{}", out.kept, part).c_str()) != 0) {
        return system_error("move", from);
      }
    }
    if (auto ok = sync_folders_of(out.kept); !ok) return tl::unexpected(ok.error());
  } else if (!lost) {
    return fail(ErrorCode::kNotFound,
                fmt::format("there is no audit log in {}: name audit.folder of the configuration "
                            "(--folder), or say --lost where the log is gone",
                            folder));
  }
  const AuditForgotten row{contents->audit.size, contents->audit.root};
  if (auto ok = commit_alone(**database, {"restore", now_ms(), {row}}); !ok) {
    return tl::unexpected(ok.error());
  }
  return out;
}

Result<RestoreReport> restore_store(const std::string& backup, const std::string& directory,
                                    const std::string& audit, bool forget) {
  if (auto ok = make_folder(directory, 0700); !ok) return tl::unexpected(ok.error());
  auto lock = lock_directory(directory);
  if (!lock && lock.error().code == ErrorCode::kConflict) {
    return fail(ErrorCode::kConflict,
                fmt::format("the state directory {} is in use: stop the relay first", directory));
  }
  if (!lock) return tl::unexpected(std::move(lock.error()));
  if (auto ok = give_to_owner_of(directory, *lock); !ok) return tl::unexpected(ok.error());
  const std::string path = store_path(directory);
  Draft draft{path + ".restored"};
  auto in = open_backup(backup, path, draft.path);
  if (!in) return tl::unexpected(std::move(in.error()));
  draft.remove();  // of a restore that was interrupted
  if (auto ok = copy_file(*in, backup, draft.path, directory); !ok) {
    return tl::unexpected(ok.error());
  }
  RestoreReport report;
  {
    auto copy = check_backup(backup, draft.path, directory, report);
    if (!copy) return tl::unexpected(std::move(copy.error()));
    if (exists(path) || exists(path + "-wal") || exists(restore_marker(directory))) {
      auto ok = look_at_present(path, directory, **copy, report, forget);
      if (!ok) return tl::unexpected(ok.error());
    }
    if (auto ok = look_at_audit(audit, **copy, report, forget); !ok)
      return tl::unexpected(ok.error());
    // How far the audit log had come is what the store that stands there knows last.
    std::vector<Change> last;
    if (report.present_read) {
      last.push_back(AuditKnown{report.audit_size, report.audit_root, report.audit_ms});
    }
    // Numbers that were given are not given again.
    const uint64_t known = std::max(report.audited, report.present);
    if (known > report.changes) last.push_back(ChangesForgotten{report.changes, known});
    if (!last.empty()) {
      if (auto ok = commit_alone(**copy, {"restore", now_ms(), std::move(last)}); !ok) {
        return tl::unexpected(ok.error());
      }
    }
  }
  if (exists(draft.path + "-wal")) {
    return fail(ErrorCode::kStore,
                fmt::format("the copy of {} could not be completed: is the disk full?", backup));
  }
  if (auto ok = put_in_place(draft, path, restore_marker(directory), report); !ok) {
    return tl::unexpected(ok.error());
  }
  return report;
}

}  // namespace sluice::control
