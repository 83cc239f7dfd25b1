// Of the tests of the store: SQLite's own file layer with syncs that can be counted, held and
// failed; a queue in the control thread's place; rows.
#pragma once

#include "control/store.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <set>

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "control/store_migrations.h"
#include "control/store_sqlite.h"

namespace sluice::control {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// ---- SQLite's files, with syncs that can be counted, held and failed

struct Syncs {
  std::mutex mutex;
  std::condition_variable changed;
  uint64_t log = 0;       // completed syncs of the write-ahead log
  uint64_t database = 0;  // and of the database file
  int log_failures = 0;   // how many of the next ones fail
  int database_failures = 0;
  bool hold_log = false;
  bool held = false;
};
inline Syncs syncs;
// A log is opened without locks of its own, so the two have different methods.
inline const sqlite3_io_methods* plain_log = nullptr;
inline const sqlite3_io_methods* plain_database = nullptr;

inline int sync_log(sqlite3_file* file, int flags) {
  {
    std::unique_lock guard(syncs.mutex);
    while (syncs.hold_log) {
      syncs.held = true;
      syncs.changed.notify_all();
      syncs.changed.wait(guard);
    }
    syncs.held = false;
    if (syncs.log_failures > 0) {
      --syncs.log_failures;
      return SQLITE_IOERR_FSYNC;
    }
  }
  const int rc = plain_log->xSync(file, flags);
  const std::lock_guard guard(syncs.mutex);
  ++syncs.log;
  return rc;
}

inline int sync_database(sqlite3_file* file, int flags) {
  {
    const std::lock_guard guard(syncs.mutex);
    if (syncs.database_failures > 0) {
      --syncs.database_failures;
      return SQLITE_IOERR_FSYNC;
    }
  }
  const int rc = plain_database->xSync(file, flags);
  const std::lock_guard guard(syncs.mutex);
  ++syncs.database;
  return rc;
}

inline int open_file(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out) {
  static sqlite3_io_methods log, database;
  sqlite3_vfs* real = sqlite3_vfs_find("unix");
  const int rc = real->xOpen(real, name, file, flags, out);
  if (rc != SQLITE_OK || !(flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_DB))) return rc;
  const bool is_log = (flags & SQLITE_OPEN_WAL) != 0;
  auto& plain = is_log ? plain_log : plain_database;
  auto& counted = is_log ? log : database;
  if (!plain) {
    plain = file->pMethods;
    counted = *plain;
    counted.xSync = is_log ? sync_log : sync_database;
  }
  if (file->pMethods != plain) return SQLITE_INTERNAL;
  file->pMethods = &counted;
  return rc;
}

inline void install_file_layer() {
  static sqlite3_vfs layer;
  if (layer.zName) return;
  sqlite3_initialize();
  layer = *sqlite3_vfs_find("unix");
  layer.pNext = nullptr;
  layer.zName = "counted";
  layer.xOpen = open_file;
  sqlite3_vfs_register(&layer, 1);
}

// ---- helpers

// The control thread's queue, pumped by hand.
class Executor {
 public:
  Store::Post post() {
    return [this](std::function<void()> f) {
      {
        const std::lock_guard guard(mutex_);
        waiting_.push_back(std::move(f));
      }
      changed_.notify_all();
    };
  }
  bool run_one(std::chrono::milliseconds patience = 10s) {
    std::unique_lock guard(mutex_);
    if (!changed_.wait_for(guard, patience, [this] { return !waiting_.empty(); })) return false;
    auto f = std::move(waiting_.front());
    waiting_.pop_front();
    guard.unlock();
    f();
    return true;
  }
  bool run_until(const std::function<bool()>& done) {
    while (!done()) {
      if (!run_one()) return false;
    }
    return true;
  }
  // As when the process ends.
  void forget() {
    const std::lock_guard guard(mutex_);
    waiting_.clear();
  }
  size_t waiting() {
    const std::lock_guard guard(mutex_);
    return waiting_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> waiting_;
};

inline ByteArray<32> identity(uint64_t n) {
  ByteArray<32> out{};
  out[31] = 0xa5;
  store_le(out.data(), n);
  return out;
}

inline AgentRow agent(uint64_t n) {
  AgentRow out;
  out.identity = identity(n);
  out.tenant = 7;
  out.node = uint32_t(n);
  out.name = "agent" + std::to_string(n);
  out.created_ms = 1000 + n;
  return out;
}

inline RevocationRow revocation(uint64_t n, std::string reason = "stolen key") {
  return {identity(n), std::move(reason), 5000 + n};
}

inline Changes changes(std::initializer_list<Change> list) {
  return {"test", 1, list};
}
template <typename Row>
Changes changes(const std::vector<Row>& rows) {
  Changes out{"test", 1, {}};
  out.list.assign(rows.begin(), rows.end());
  return out;
}

inline Connection raw_open(const std::string& path) {
  sqlite3* db = nullptr;
  EXPECT_EQ(sqlite3_open(path.c_str(), &db), SQLITE_OK);
  return Connection(db);
}

inline void raw(const std::string& path, const char* sql) {
  const Connection db = raw_open(path);
  ASSERT_EQ(execute(db.get(), sql), SQLITE_OK) << sqlite3_errmsg(db.get());
}

inline mode_t mode_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(stat(path.c_str(), &st), 0) << path;
  return st.st_mode & 07777;
}

inline bool says(const Error& e, std::string_view words) {
  return e.message.find(words) != std::string::npos && e.message.find('\n') == std::string::npos;
}

// Runs `body` with a tmpfs on `at`, in a mount namespace that ends with its thread. False where
// that is not allowed.
inline bool with_tmpfs(const std::string& at, const char* options,
                       const std::function<void()>& body) {
  bool mounted = false;
  std::thread([&] {
    mounted = unshare(CLONE_NEWNS) == 0 &&
              mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
              mount("tmpfs", at.c_str(), "tmpfs", 0, options) == 0;
    if (!mounted) return;
    body();
    umount2(at.c_str(), MNT_DETACH);
  }).join();
  return mounted;
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    install_file_layer();
    char name[] = "/tmp/store_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
    dir_ = root_ + "/state";
    db_ = dir_ + "/sluice.db";
  }
  void TearDown() override {
    release_log();
    {
      const std::lock_guard guard(syncs.mutex);
      syncs.log_failures = syncs.database_failures = 0;
    }
    store_.reset();
    fs::remove_all(root_);
  }

  void open_store() {
    auto r = Store::open(dir_, executor_.post(), [this](Snapshot s) {
      rereads_.push_back(std::move(s));
      answered_at_reread_ = answered_;
    });
    ASSERT_TRUE(r) << r.error().message;
    store_ = std::move(*r);
  }
  void reopen_store() {
    store_.reset();
    open_store();
  }
  Error open_error() {
    auto r = Store::open(dir_, executor_.post());
    EXPECT_FALSE(r) << "opened";
    return r ? Error{} : r.error();
  }
  Snapshot contents() {
    auto r = store_->load();
    EXPECT_TRUE(r) << r.error().message;
    return r ? *r : Snapshot{};
  }

  // Submits, and waits for the answer.
  Result<WriteTimes> revoke(std::vector<RevocationRow> rows) {
    std::optional<Result<WriteTimes>> answer;
    store_->apply(changes(rows), keep(answer));
    return wait(answer);
  }
  Result<WriteTimes> enrol(std::vector<AgentRow> rows) {
    std::optional<Result<WriteTimes>> answer;
    store_->apply(changes(rows), keep(answer));
    return wait(answer);
  }
  Store::Done keep(std::optional<Result<WriteTimes>>& answer) {
    return [&](Result<WriteTimes> r) {
      ++answered_;
      answer = std::move(r);
    };
  }
  Result<WriteTimes> wait(std::optional<Result<WriteTimes>>& answer) {
    if (!executor_.run_until([&] { return answer.has_value(); })) {
      ADD_FAILURE() << "no answer";
      return fail(ErrorCode::kTimeout, "no answer");
    }
    return *answer;
  }

  void hold_log() {
    const std::lock_guard guard(syncs.mutex);
    syncs.hold_log = true;
  }
  void wait_until_held() {
    std::unique_lock guard(syncs.mutex);
    ASSERT_TRUE(syncs.changed.wait_for(guard, 10s, [] { return syncs.held; }));
  }
  void release_log() {
    const std::lock_guard guard(syncs.mutex);
    syncs.hold_log = false;
    syncs.changed.notify_all();
  }
  void fail_syncs(int log, int database) {
    const std::lock_guard guard(syncs.mutex);
    syncs.log_failures = log;
    syncs.database_failures = database;
  }
  uint64_t count(uint64_t Syncs::*which) {
    const std::lock_guard guard(syncs.mutex);
    return syncs.*which;
  }

  std::string root_, dir_, db_;
  Executor executor_;
  std::vector<Snapshot> rereads_;
  int answered_ = 0;
  int answered_at_reread_ = -1;
  std::unique_ptr<Store> store_;
};

}  // namespace sluice::control
