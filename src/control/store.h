// The relay's durable state, in one directory that belongs to one relay at a time:
//   sluice.db (and SQLite's log beside it), lock; files 0600, a new directory 0700.
//
// Owned by the control thread, which never waits for it after start-up: enrol() and revoke() only
// queue. A thread of the store's own takes all that is queued into one transaction and syncs it;
// an answer is durable before it is given, and is given through `post`, on the control thread.
//
// After an I/O error the connection is closed, opened again with all checks, and re-read; the
// operations that met the error are then tried once more (they are idempotent). As long as it
// cannot be opened again, operations fail with kStore and the reason. One that failed so may
// still turn out to be on disk: `reread` gets what is there, before the next answer.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "control/store_rows.h"

namespace sluice::control {

class Database;

struct WriteTimes {
  uint64_t sync_us = 0;  // the commit with its sync to disk
};

class Store {
 public:
  using Done = std::function<void(Result<WriteTimes>)>;
  // Hands a closure to the control thread and never runs it in place. Called from the store's
  // thread; outlives the store.
  using Post = std::function<void(std::function<void()>)>;
  using Reread = std::function<void(Snapshot)>;

  // kConflict: another relay uses the directory. kPermission: it cannot be written.
  // kStore: damaged, of a newer schema, on a full disk.
  static Result<std::unique_ptr<Store>> open(const std::string& directory, Post post,
                                             Reread reread = {});
  // Finishes and answers what is queued.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // For start-up: these wait for the disk.
  Result<Snapshot> load();
  Result<void> enrol_now(std::vector<AgentRow> rows);

  // All rows of one call or none. A known identity with the same address is fine and keeps its
  // first row; an address or identity that is taken is kConflict, a value out of range kUsage.
  void enrol(std::vector<AgentRow> rows, Done done);
  // A second revocation of an identity is fine; the first one's reason and time stay.
  void revoke(std::vector<RevocationRow> rows, Done done);

  // Transactions made durable so far. Any thread.
  uint64_t commits() const noexcept { return commits_.load(std::memory_order_relaxed); }

 private:
  struct Operation {
    std::variant<std::vector<AgentRow>, std::vector<RevocationRow>> rows;
    Done done;
    bool direct = false;  // answered on the store's thread: the control thread is waiting
  };
  using Batch = std::vector<Operation>;
  using Outcomes = std::vector<Result<void>>;

  Store(std::string path, Fd lock, std::unique_ptr<Database> database, Post post, Reread reread);
  void submit(Operation operation);
  void run();
  void write(Batch batch);
  Result<void> reopen();
  Result<WriteTimes> commit(const Batch& batch, Outcomes& outcomes);
  void answer(Batch batch, const Result<WriteTimes>& written, const Outcomes& outcomes);

  const std::string path_;
  const Fd lock_;  // released after the last connection is closed
  const Post post_;
  const Reread reread_;
  std::atomic<uint64_t> commits_{0};

  std::mutex database_mutex_;           // held over disk I/O: never taken by enrol() and revoke()
  std::unique_ptr<Database> database_;  // null: to be opened again

  std::mutex queue_mutex_;
  std::condition_variable queued_;
  Batch queue_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace sluice::control
