#include "control/store_database.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"
#include "control/store_files.h"
#include "control/store_migrations.h"

namespace sluice::control {
namespace {

constexpr int kApplicationId = 0x536c7563;  // "Sluc"
constexpr int kBusyTimeoutMs = 2000;
constexpr int kCheckpointPages = 1000;  // 4 MB of log

Error sqlite_error(sqlite3* db, const char* what, const std::string& path) {
  switch (sqlite3_errcode(db) & 0xff) {
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorCode::kStore, fmt::format("{} is damaged ({}): restore it from a backup", path,
                                             sqlite3_errmsg(db))};
    case SQLITE_FULL:
      return {ErrorCode::kStore,
              fmt::format("cannot {} {}: the disk is full: free some space", what, path)};
    case SQLITE_BUSY:
      return {ErrorCode::kConflict,
              fmt::format("cannot {} {}: another program has it open: close that", what, path)};
    default:
      break;
  }
  const int e = sqlite3_system_errno(db);
  return {ErrorCode::kStore, fmt::format("cannot {} {}: {}{}{}", what, path, sqlite3_errmsg(db),
                                         e != 0 ? ": " : "", e != 0 ? std::strerror(e) : "")};
}

Result<Connection> connect_to(const std::string& path) {
  sqlite3* handle = nullptr;
  const int rc =
      sqlite3_open_v2(path.c_str(), &handle,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nullptr);
  Connection db(handle);
  if (rc != SQLITE_OK) return tl::unexpected<Error>(sqlite_error(db.get(), "open", path));
  sqlite3_busy_timeout(db.get(), kBusyTimeoutMs);
  return db;
}

}  // namespace

Result<void> Database::create(const std::string& path) {
  const std::string fresh = path + ".new";
  unlink(fresh.c_str());
  unlink((fresh + "-journal").c_str());
  {
    const Fd fd(::open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd || fchmod(fd.get(), 0600) != 0) return system_error("create", fresh);
  }
  {
    auto db = connect_to(fresh);
    if (!db) return tl::unexpected<Error>(std::move(db.error()));
    const std::string settings =
        fmt::format("PRAGMA synchronous = FULL; PRAGMA application_id = {}", kApplicationId);
    if (execute(db->get(), settings.c_str()) != SQLITE_OK ||
        migrate(db->get(), 0, schema_migrations()) != SQLITE_OK) {
      return tl::unexpected<Error>(sqlite_error(db->get(), "create", path));
    }
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) return system_error("create", path);
  return sync_folders_of(path);
}

Result<std::unique_ptr<Database>> Database::open(const std::string& path, bool check_tables) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return system_error("open", path);
  if (!S_ISREG(st.st_mode)) {
    return fail(ErrorCode::kStore, fmt::format("{} is not a regular file", path));
  }
  // SQLite would take an empty file for a new database, and every revocation would be forgotten.
  if (st.st_size == 0) {
    return fail(ErrorCode::kStore,
                fmt::format("{} is damaged (it is empty): restore it from a backup", path));
  }
  // SQLite gives its log the mode of the database file.
  if ((st.st_mode & 077) != 0 && chmod(path.c_str(), 0600) != 0) {
    return system_error("make private", path);
  }
  std::unique_ptr<Database> out(new Database(path));
  if (auto ok = out->connect(); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  if (auto ok = out->prepare_contents(check_tables); !ok) {
    return tl::unexpected<Error>(std::move(ok.error()));
  }
  if (auto ok = out->prepare_statements(); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  return out;
}

tl::unexpected<Error> Database::failed(const char* what) {
  const int rc = sqlite3_errcode(db_.get()) & 0xff;
  if (rc == SQLITE_CONSTRAINT || rc == SQLITE_TOOBIG) {
    return fail(ErrorCode::kUsage, fmt::format("cannot {}: the value is refused: {}", what,
                                               sqlite3_errmsg(db_.get())));
  }
  broken_ = true;
  return tl::unexpected<Error>(sqlite_error(db_.get(), what, path_));
}

Result<void> Database::run(const char* sql, const char* what) {
  if (execute(db_.get(), sql) != SQLITE_OK) return failed(what);
  return {};
}

Result<uint64_t> Database::one_number(const char* sql) {
  const Statement s = prepare(db_.get(), sql);
  if (!s) return failed("read");
  Run r(s);
  if (r.step() != SQLITE_ROW) return failed("read");
  return r.number(0);
}

// EXCLUSIVE: nothing else may change what the relay believes, and the log's index lives on the
// heap instead of in a mapped file, where a full disk would be a SIGBUS.
Result<void> Database::connect() {
  auto db = connect_to(path_);
  if (!db) return tl::unexpected<Error>(std::move(db.error()));
  db_ = std::move(*db);
  return run(
      "PRAGMA locking_mode = EXCLUSIVE;"
      "PRAGMA trusted_schema = OFF;"
      "PRAGMA cell_size_check = ON;"
      "PRAGMA foreign_keys = ON;"
      "PRAGMA synchronous = FULL",
      "open");
}

Result<void> Database::check_tables() {
  // Statements are evidence that grows for ever, half of the file, and not read at start: a page of
  // theirs that is damaged fails what needs it. Whatever else there is has to be whole.
  std::vector<std::string> tables;
  {
    const Statement s = prepare(
        db_.get(), "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'statements'");
    if (!s) return failed("check");
    Run r(s);
    int rc;
    while ((rc = r.step()) == SQLITE_ROW) tables.emplace_back(r.text(0));
    if (rc != SQLITE_DONE) return failed("check");
  }
  for (const std::string& table : tables) {
    const Statement s = prepare(db_.get(), fmt::format("PRAGMA quick_check('{}')", table).c_str());
    if (!s) return failed("check");
    Run r(s);
    if (r.step() != SQLITE_ROW) return failed("check");
    if (r.text(0) != "ok") {
      std::string finding(r.text(0));
      std::replace(finding.begin(), finding.end(), '\n', ' ');
      return fail(ErrorCode::kStore,
                  fmt::format("{} is damaged ({}): restore it from a backup", path_, finding));
    }
  }
  return {};
}

Result<void> Database::check_everything() {
  for (const char* sql : {"PRAGMA integrity_check(1)", "PRAGMA foreign_key_check"}) {
    const Statement s = prepare(db_.get(), sql);
    if (!s) return failed("check");
    Run r(s);
    const int rc = r.step();
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return failed("check");
    // A foreign key that leads nowhere is a row that begins with its table.
    if (rc == SQLITE_ROW && r.text(0) != "ok") {
      std::string finding(r.text(0));
      std::replace(finding.begin(), finding.end(), '\n', ' ');
      return fail(ErrorCode::kStore,
                  fmt::format("{} is damaged ({}): take another", path_, finding));
    }
  }
  return {};
}

Result<std::unique_ptr<StoreCopy>> Database::copy_to(const std::string& path) {
  return StoreCopy::begin(db_.get(), path);
}

Result<void> Database::prepare_contents(bool check_first) {
  const auto id = one_number("PRAGMA application_id");
  if (!id) return tl::unexpected<Error>(id.error());
  const auto version = one_number("PRAGMA user_version");
  if (!version) return tl::unexpected<Error>(version.error());
  const size_t known = schema_migrations().size();
  if (*id != kApplicationId || *version == 0) {
    return fail(ErrorCode::kStore, fmt::format("{} is not a store of this program", path_));
  }
  if (*version > known) {
    return fail(ErrorCode::kStore,
                fmt::format("{} has schema version {}, this program knows versions up to {}: run "
                            "the newer program, or restore a backup made before the upgrade",
                            path_, *version, known));
  }
  if (check_first || *version < known) {
    if (auto ok = check_tables(); !ok) return ok;
  }
  {
    const Statement s = prepare(db_.get(), "PRAGMA journal_mode = WAL");
    if (!s) return failed("open the log of");
    Run r(s);
    if (r.step() != SQLITE_ROW) return failed("open the log of");
    if (r.text(0) != "wal") {
      return fail(ErrorCode::kStore, fmt::format("cannot keep a write-ahead log beside {}", path_));
    }
  }
  // In place of SQLite's automatic checkpoint, which hides its errors and delays the commit.
  sqlite3_wal_hook(
      db_.get(),
      [](void* pages, sqlite3*, const char*, int n) {
        *static_cast<int*>(pages) = n;
        return SQLITE_OK;
      },
      &log_pages_);
  if (migrate(db_.get(), static_cast<int>(*version), schema_migrations()) != SQLITE_OK) {
    return failed("upgrade");
  }
  // The log may hold commits that were written but never synced: by a process that was killed, or
  // before a sync that failed.
  if (sqlite3_wal_checkpoint_v2(db_.get(), "main", SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr) !=
      SQLITE_OK) {
    return failed("write");
  }
  return {};
}

Result<void> Database::begin() {
  return run("BEGIN IMMEDIATE", "write");
}

Result<void> Database::commit() {
  if (auto ok = run("COMMIT", "write"); !ok) return ok;
  // A commit into a file that was deleted or replaced meanwhile is not durable.
  int moved = 0;
  sqlite3_file_control(db_.get(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  if (moved != 0) {
    broken_ = true;
    return fail(ErrorCode::kStore,
                fmt::format("{} was removed or replaced while in use: restore it", path_));
  }
  return {};
}

Result<void> Database::checkpoint_if_due() {
  if (log_pages_ < kCheckpointPages) return {};
  if (sqlite3_wal_checkpoint_v2(db_.get(), "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr) !=
      SQLITE_OK) {
    return failed("write");
  }
  log_pages_ = 0;
  return {};
}

}  // namespace sluice::control
