#include "control/store.h"

#include <algorithm>
#include <chrono>
#include <future>

#include <fmt/format.h>

#include "base/thread.h"
#include "control/store_copy.h"
#include "control/store_database.h"
#include "control/store_files.h"

namespace sluice::control {

Result<std::unique_ptr<Store>> Store::open(const std::string& directory, Post post, Reread reread,
                                           bool check_now) {
  std::string folder = directory;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  if (auto ok = make_folder(folder, 0700); !ok) {
    const bool permission = ok.error().code == ErrorCode::kPermission;
    return fail(permission ? ErrorCode::kPermission : ErrorCode::kStore,
                fmt::format("no state directory: {}", ok.error().message));
  }
  auto lock = lock_directory(folder);
  if (!lock) return tl::unexpected<Error>(std::move(lock.error()));

  const std::string path = store_path(folder);
  if (exists(restore_marker(folder))) {
    return fail(
        ErrorCode::kStore,
        fmt::format("a restore into {} was interrupted: repeat it (sluicectl restore)", folder));
  }
  if (!exists(path)) {
    if (exists(path + "-wal")) {
      return fail(
          ErrorCode::kStore,
          fmt::format("{} is missing, but its log {}-wal is there: restore both", path, path));
    }
    if (auto ok = Database::create(path); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  }
  auto database = Database::open(path, check_now);
  if (!database) return tl::unexpected<Error>(std::move(database.error()));
  return std::unique_ptr<Store>(
      new Store(path, std::move(*lock), std::move(*database), std::move(post), std::move(reread)));
}

Store::Store(std::string path, Fd lock, std::unique_ptr<Database> database, Post post,
             Reread reread)
    : path_(std::move(path)),
      lock_(std::move(lock)),
      post_(std::move(post)),
      reread_(std::move(reread)),
      database_(std::move(database)),
      thread_(start_thread("store", [this] { run(); })) {}

Store::~Store() {
  {
    const std::lock_guard guard(queue_mutex_);
    stopping_ = true;
  }
  queued_.notify_one();
  thread_.join();
}

Result<Snapshot> Store::load() {
  const std::lock_guard guard(database_mutex_);
  if (!database_) {
    if (auto ok = reopen(); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  }
  auto out = database_->load();
  if (!out) database_.reset();
  return out;
}

Result<void> Store::apply_now(Changes changes) {
  std::promise<Result<void>> promise;
  auto answered = promise.get_future();
  submit({std::move(changes),
          [&promise](Result<WriteTimes> r) { promise.set_value(r.map([](WriteTimes) {})); }, true});
  return answered.get();
}

void Store::apply(Changes changes, Done done) {
  submit({std::move(changes), std::move(done)});
}

void Store::submit(Operation operation) {
  {
    const std::lock_guard guard(queue_mutex_);
    queue_.push_back(std::move(operation));
  }
  queued_.notify_one();
}

void Store::ask(Query query) {
  {
    const std::lock_guard guard(queue_mutex_);
    queries_.push_back(std::move(query));
  }
  queued_.notify_one();
}

std::future<Result<void>> Store::check() {
  auto promise = std::make_shared<std::promise<Result<void>>>();
  ask([promise](Database* database, const Error& unavailable) {
    promise->set_value(database == nullptr ? Result<void>(tl::unexpected(unavailable))
                                           : database->check_tables());
    return [] {};
  });
  return promise->get_future();
}

void Store::read_feed(uint64_t after, uint32_t limit, FeedDone done) {
  ask([=, done = std::move(done)](Database* database, const Error& unavailable) {
    Result<std::vector<FeedEntry>> entries = tl::unexpected(unavailable);
    if (database != nullptr) entries = database->feed(after, limit);
    return [done, entries = std::move(entries)] { done(entries); };
  });
}

void Store::read_audit_feed(uint64_t after, uint32_t limit, AuditFeedDone done) {
  ask([=, done = std::move(done)](Database* database, const Error& unavailable) {
    Result<std::vector<AuditFeedEntry>> entries = tl::unexpected(unavailable);
    if (database != nullptr) entries = database->audit_feed(after, limit);
    return [done, entries = std::move(entries)] { done(entries); };
  });
}

Result<std::vector<AuditFeedEntry>> Store::audit_feed_now(uint64_t after, uint32_t limit) {
  const std::lock_guard guard(database_mutex_);
  if (!database_) {
    if (auto ok = reopen(); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  }
  return database_->audit_feed(after, limit);
}

void Store::read_statement(const Digest& digest, StatementDone done) {
  ask([=, done = std::move(done)](Database* database, const Error& unavailable) {
    Result<Buffer> statement = tl::unexpected(unavailable);
    if (database != nullptr) statement = database->statement(digest);
    return [done, statement = std::move(statement)] { done(statement); };
  });
}

void Store::beside(std::function<Result<void>()> work, std::function<void(Result<void>)> done) {
  ask([work = std::move(work), done = std::move(done)](Database*, const Error&) {
    return [done, r = work()] { done(r); };
  });
}

void Store::run() {
  for (;;) {
    Batch batch;
    std::vector<Query> queries;
    {
      std::unique_lock guard(queue_mutex_);
      queued_.wait(guard, [this] {
        return stopping_ || !queue_.empty() || !queries_.empty() || !copies_.empty();
      });
      if (stopping_ && queue_.empty() && queries_.empty()) return;
      batch.swap(queue_);
      queries.swap(queries_);
    }
    if (!batch.empty()) write(std::move(batch));
    for (const Query& q : queries) answer(q);
    step_copies();
  }
}

void Store::write(Batch batch) {
  const std::lock_guard guard(database_mutex_);
  Outcomes outcomes(batch.size());
  Result<WriteTimes> written;
  for (bool reopened = false;; reopened = true) {
    if (!database_) {
      reopened = true;
      if (auto ok = reopen(); !ok) {
        written = tl::unexpected<Error>(std::move(ok.error()));
        break;
      }
    }
    written = commit(batch, outcomes);
    if (written) break;
    close_database(written.error());
    if (reopened) break;
  }
  answer(std::move(batch), written, outcomes);
  if (!database_) return;
  if (auto ok = database_->checkpoint_if_due(); !ok) close_database(ok.error());
}

Result<void> Store::reopen() {
  auto database = Database::open(path_);
  if (!database) {
    return fail(ErrorCode::kStore,
                fmt::format("the store is closed after an error: {}", database.error().message));
  }
  auto snapshot = (*database)->load();
  if (!snapshot) return tl::unexpected<Error>(std::move(snapshot.error()));
  database_ = std::move(*database);
  if (reread_) {
    post_([reread = reread_, s = std::move(*snapshot)]() mutable { reread(std::move(s)); });
  }
  return {};
}

Result<WriteTimes> Store::commit(const Batch& batch, Outcomes& outcomes) {
  if (auto ok = database_->begin(); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  for (size_t i = 0; i < batch.size(); ++i) {
    outcomes[i] = database_->apply(batch[i].changes);
    if (database_->broken()) return tl::unexpected<Error>(outcomes[i].error());
  }
  // commits() is what readers of the feed look at, and such a row is not in it.
  const bool told = std::any_of(batch.begin(), batch.end(), [](const Operation& o) {
    return std::any_of(o.changes.list.begin(), o.changes.list.end(), [](const Change& c) {
      return !std::holds_alternative<AuditCheckpointRow>(c) &&
             !std::holds_alternative<QuotaUseRow>(c);
    });
  });
  const auto start = std::chrono::steady_clock::now();
  if (auto ok = database_->commit(); !ok) return tl::unexpected<Error>(std::move(ok.error()));
  const auto took = std::chrono::steady_clock::now() - start;
  if (told) commits_.fetch_add(1, std::memory_order_relaxed);
  return WriteTimes{
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count())};
}

// One closure for the whole batch: a bulk revocation wakes the control thread once.
void Store::answer(Batch batch, const Result<WriteTimes>& written, const Outcomes& outcomes) {
  std::vector<std::pair<Done, Result<WriteTimes>>> answers;
  for (size_t i = 0; i < batch.size(); ++i) {
    Result<WriteTimes> result = written;
    if (written && !outcomes[i]) result = tl::unexpected<Error>(outcomes[i].error());
    if (!batch[i].done) continue;
    if (batch[i].direct) {
      batch[i].done(std::move(result));
    } else {
      answers.emplace_back(std::move(batch[i].done), std::move(result));
    }
  }
  if (answers.empty()) return;
  post_([answers = std::move(answers)]() mutable {
    for (auto& [done, result] : answers) done(std::move(result));
  });
}

void Store::answer(const Query& query) {
  const std::lock_guard guard(database_mutex_);
  Error unavailable;
  if (!database_) {
    if (auto ok = reopen(); !ok) unavailable = ok.error();
  }
  auto give = query(database_.get(), unavailable);
  if (database_ && database_->broken()) {
    close_database({ErrorCode::kStore, "the store could not be read and is being opened again"});
  }
  post_(std::move(give));
}

void Store::backup(const std::string& path, std::function<void(Result<BackupDone>)> done) {
  ask([this, path, done = std::move(done)](Database* database,
                                           const Error& unavailable) -> std::function<void()> {
    Result<std::unique_ptr<StoreCopy>> copy = tl::unexpected(unavailable);
    if (!copies_.empty()) {
      copy = fail(ErrorCode::kConflict, "another backup is being written: wait for its end");
    } else if (database != nullptr) {
      copy = database->copy_to(path);
    }
    if (!copy) return [done, why = copy.error()] { done(tl::unexpected(why)); };
    copies_.push_back({std::move(*copy), done});
    return [] {};
  });
}

void Store::step_copies() {
  const std::lock_guard guard(database_mutex_);
  std::erase_if(copies_, [this](Backup& b) {
    Result<BackupDone> result;
    const auto all = b.copy->step();
    if (all && !*all) return false;
    // Nothing is committed between: this thread is the one that commits.
    const auto last =
        all ? database_->last_change() : Result<uint64_t>(tl::unexpected(all.error()));
    const auto bytes = last ? b.copy->complete() : Result<uint64_t>(tl::unexpected(last.error()));
    result = bytes ? Result<BackupDone>({*bytes, *last}) : tl::unexpected(bytes.error());
    b.copy.reset();  // what failed is gone before anyone hears of it and tries again
    post_([done = b.done, result] { done(result); });
    return true;
  });
  if (database_ && database_->broken()) {
    close_database({ErrorCode::kStore, "the store could not be read and is being opened again"});
  }
}

// A copy that still reads would keep the connection, and with it the lock, alive.
void Store::close_database(const Error& why) {
  for (Backup& b : copies_) {
    b.copy.reset();
    post_([done = b.done, why] { done(tl::unexpected(why)); });
  }
  copies_.clear();
  database_.reset();
}

}  // namespace sluice::control
