// The relay's durable state, in one directory that belongs to one relay at a time:
//   sluice.db (and SQLite's log beside it), lock; files 0600, a new directory 0700.
//
// Owned by the control thread, which never waits for it after start-up: apply() only queues. A
// thread of the store's own takes all that is queued into one transaction and syncs it; an answer
// is durable before it is given, and is given through `post`, on the control thread.
//
// After an I/O error the connection is closed, opened again with all checks, and re-read; the
// operations that met the error are then tried once more (they are idempotent). As long as it
// cannot be opened again, operations fail with kStore and the reason. One that failed so may
// still turn out to be on disk: `reread` gets what is there, before the next answer.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "control/store_rows.h"

namespace sluice::control {

class Database;
class StoreCopy;

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
  // Without `check_now` damage is found by check(), which runs beside what the caller does.
  static Result<std::unique_ptr<Store>> open(const std::string& directory, Post post,
                                             Reread reread = {}, bool check_now = true);
  // Finishes and answers what is queued.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // For start-up: these wait for the disk.
  Result<Snapshot> load();
  Result<void> apply_now(Changes changes);
  // Reads the whole file but the evidence, on the store's thread.
  std::future<Result<void>> check();

  // All changes of one call or none, and each in the feed. What is there already is fine and stays
  // as it is: an agent with the same address, a revocation, a request, a pair. An address, name or
  // identity that is taken and a token that is spent are kConflict, a value out of range kUsage.
  void apply(Changes changes, Done done);

  // The feed from `after` on, at most `limit` entries.
  using FeedDone = std::function<void(Result<std::vector<FeedEntry>>)>;
  void read_feed(uint64_t after, uint32_t limit, FeedDone done);

  // The same with whom each entry concerns; for start-up it waits for the disk.
  using AuditFeedDone = std::function<void(Result<std::vector<AuditFeedEntry>>)>;
  void read_audit_feed(uint64_t after, uint32_t limit, AuditFeedDone done);
  Result<std::vector<AuditFeedEntry>> audit_feed_now(uint64_t after, uint32_t limit);

  // A statement by its digest, as it was signed; empty: there is none.
  using StatementDone = std::function<void(Result<Buffer>)>;
  void read_statement(const Digest& digest, StatementDone done);

  // Work on small files beside the store, on the store's thread: the control thread never waits for
  // the disk.
  void beside(std::function<Result<void>()> work, std::function<void(Result<void>)> done);

  // A copy of all that is durable when it is complete, in a file that must not exist yet, 0600.
  // Made in small steps between transactions; one at a time (kConflict).
  struct BackupDone {
    uint64_t bytes = 0;
    uint64_t last_change = 0;  // the last entry of the feed that is in it
  };
  void backup(const std::string& path, std::function<void(Result<BackupDone>)> done);

  // Transactions made durable so far that the feed tells of. Any thread.
  uint64_t commits() const noexcept { return commits_.load(std::memory_order_relaxed); }

 private:
  struct Operation {
    Changes changes;
    Done done;
    bool direct = false;  // answered on the store's thread: the control thread is waiting
  };
  // Reads, and returns what hands the result to whoever asked.
  using Query = std::function<std::function<void()>(Database*, const Error& unavailable)>;
  using Batch = std::vector<Operation>;
  using Outcomes = std::vector<Result<void>>;

  Store(std::string path, Fd lock, std::unique_ptr<Database> database, Post post, Reread reread);
  void submit(Operation operation);
  void run();
  void write(Batch batch);
  Result<void> reopen();
  Result<WriteTimes> commit(const Batch& batch, Outcomes& outcomes);
  void answer(Batch batch, const Result<WriteTimes>& written, const Outcomes& outcomes);
  void ask(Query query);
  void step_copies();
  void close_database(const Error& why);
  void answer(const Query& query);

  const std::string path_;
  const Fd lock_;  // released after the last connection is closed
  const Post post_;
  const Reread reread_;
  std::atomic<uint64_t> commits_{0};

  std::mutex database_mutex_;           // held over disk I/O: never taken by apply()
  std::unique_ptr<Database> database_;  // null: to be opened again
  struct Backup {
    std::unique_ptr<StoreCopy> copy;
    std::function<void(Result<BackupDone>)> done;
  };
  std::vector<Backup> copies_;  // the store's thread; they read from database_

  std::mutex queue_mutex_;
  std::condition_variable queued_;
  Batch queue_;
  std::vector<Query> queries_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace sluice::control
