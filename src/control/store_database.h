// One connection to sluice.db: opening with every check, transactions, rows. Owned by the Store
// and used by one thread at a time.
//
// What a connection can see is durable: opening moves the log into the database file and syncs it,
// and every later commit is synced. So an operation that finds its work already done may be
// acknowledged. After an I/O error that no longer holds: the connection is `broken`, and only a
// new one may acknowledge.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "control/store_rows.h"
#include "control/store_sqlite.h"

namespace sluice::control {

class Database {
 public:
  // Complete or not there at all: built beside `path`, then renamed.
  static Result<void> create(const std::string& path);
  // An existing one only: a store that disappeared must not come back empty.
  static Result<std::unique_ptr<Database>> open(const std::string& path);

  Result<Snapshot> load();

  Result<void> begin();
  // All rows or none, inside the transaction; an error that leaves `broken` false is this
  // operation's alone.
  Result<void> enrol(std::span<const AgentRow> rows);
  Result<void> revoke(std::span<const RevocationRow> rows);
  // Durable when it returns.
  Result<void> commit();

  // Moves the log into the database file once it has grown; called when nobody waits.
  Result<void> checkpoint_if_due();

  bool broken() const noexcept { return broken_; }

 private:
  explicit Database(std::string path) : path_(std::move(path)) {}
  Result<void> connect();
  Result<void> check_contents();
  Result<void> prepare_statements();
  Result<void> enrol_one(const AgentRow& row);
  Result<void> revoke_one(const RevocationRow& row);
  template <typename Row, typename One>
  Result<void> all_or_none(std::span<const Row> rows, One one);
  Result<void> run(const char* sql, const char* what);
  Result<uint64_t> pragma_number(const char* sql);
  tl::unexpected<Error> failed(const char* what);

  std::string path_;
  bool broken_ = false;
  int log_pages_ = 0;
  Connection db_;  // before its statements: they are finalized first
  Statement by_identity_, by_address_, add_agent_, add_revocation_;
};

}  // namespace sluice::control
