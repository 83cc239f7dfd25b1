// One connection to sluice.db: opening with every check, transactions, rows. Owned by the Store
// and used by one thread at a time.
//
// What a connection can see is durable: opening moves the log into the database file and syncs it,
// and every later commit is synced. So an operation that finds its work already done may be
// acknowledged. After an I/O error that no longer holds: the connection is `broken`, and only a
// new one may acknowledge.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "control/store_copy.h"
#include "control/store_rows.h"
#include "control/store_sqlite.h"

namespace sluice::control {

class Database {
 public:
  // Complete or not there at all: built beside `path`, then renamed.
  static Result<void> create(const std::string& path);
  // An existing one only: a store that disappeared must not come back empty.
  // Without `check_tables` that is left to the caller, unless the schema has to be upgraded.
  static Result<std::unique_ptr<Database>> open(const std::string& path, bool check_tables = true);

  // Reads every page but those of the evidence. kStore: damaged.
  Result<void> check_tables();

  // Reads all of it, and whether what refers to something leads there. kStore: damaged.
  Result<void> check_everything();

  Result<Snapshot> load();
  Result<std::vector<FeedEntry>> feed(uint64_t after, uint32_t limit);
  Result<std::vector<AuditFeedEntry>> audit_feed(uint64_t after, uint32_t limit);
  Result<uint64_t> last_change();

  Result<Buffer> statement(const Digest& digest);

  Result<void> begin();
  // All of it or nothing, inside the transaction; an error that leaves `broken` false is this
  // operation's alone.
  Result<void> apply(const Changes& changes);
  // Durable when it returns.
  Result<void> commit();

  // Moves the log into the database file once it has grown; called when nobody waits.
  Result<void> checkpoint_if_due();

  // Must be gone before this connection is.
  Result<std::unique_ptr<StoreCopy>> copy_to(const std::string& path);

  bool broken() const noexcept { return broken_; }

 private:
  explicit Database(std::string path) : path_(std::move(path)) {}
  Result<void> connect();
  Result<void> prepare_contents(bool check_first);
  Result<void> prepare_statements();
  // `read` takes one row; false: it cannot be what the program wrote.
  Result<void> each_row(const char* sql, const std::function<bool(const Run&)>& read);
  Result<void> apply_all(const Changes& changes);
  // One for each kind of change; what is done already is no error.
  Result<void> one(const AgentRow& row);
  Result<void> one(const AgentUpdate& update);
  Result<void> one(const RevocationRow& row);
  Result<void> one(const TenantRow& row);
  Result<void> one(const TokenRow& row);
  Result<void> one(const TokenUse& use);
  Result<void> one(const TokenEnd& end);
  Result<void> one(const RequestRow& row);
  Result<void> one(const RequestEnd& end);
  Result<void> one(const ConsentRow& row);
  Result<void> one(const PairRow& row);
  Result<void> one(const PairEnd& end);
  Result<void> one(const PolicyRow& row);
  Result<void> one(const RelayKeyRow& row);
  Result<void> one(const RelayKeyRetired& retired);
  Result<void> one(const RotationRow& row);
  Result<void> one(const AuditCheckpointRow& row);
  Result<void> one(const AuditForgotten& row);
  Result<void> one(const AuditKnown& row);
  Result<void> one(const ChangesForgotten& row);
  Result<void> one(const ScopeNameRow& row);
  Result<void> one(const QuotaUseRow& row);
  Result<void> one(const VaultMasterSet& set);
  Result<void> one(const VaultKeyAdded& added);
  Result<void> one(const VaultKeyWrapped& again);
  Result<void> one(const VaultKeyRemoved& removed);
  Result<void> one(const CredentialRow& row);
  Result<void> one(const CredentialSealed& again);
  Result<void> one(const CredentialEnd& end);
  Result<void> one(const BindingRow& row);
  Result<void> one(const BindingSealed& again);
  Result<void> one(const BindingEnd& end);
  Result<void> write_vault(const char* sql, const std::function<void(Run&)>& bind);
  Result<void> load_vault(VaultRows& out);
  // Rows refer to an agent by its first identity.
  Result<ByteArray<32>> first_of(const ByteArray<32>& identity);
  Result<void> keep_statement(const Digest& digest, Bytes statement);
  Result<void> finish(Run& run, const char* what);
  Result<void> run(const char* sql, const char* what);
  Result<uint64_t> one_number(const char* sql);
  tl::unexpected<Error> failed(const char* what);

  static constexpr size_t kSqlCount = 39;

  std::string path_;
  bool broken_ = false;
  int log_pages_ = 0;
  Connection db_;  // before its statements: they are finalized first
  std::array<Statement, kSqlCount> statements_;
};

}  // namespace sluice::control
