#include "control/store_migrations.h"

#include <fmt/format.h>

#include "control/store_sqlite.h"

namespace sluice::control {
namespace {

// Revocations do not refer to agents: an identity can be revoked before it was ever enrolled.
constexpr const char* kMigrations[] = {
    R"sql(
CREATE TABLE agents (
  identity   BLOB    NOT NULL PRIMARY KEY CHECK (length(identity) = 32),
  tenant     INTEGER NOT NULL CHECK (tenant BETWEEN 0 AND 0xffff),
  node       INTEGER NOT NULL CHECK (node BETWEEN 0 AND 0xffffffff),
  name       TEXT    NOT NULL,
  created_ms INTEGER NOT NULL CHECK (created_ms >= 0),
  UNIQUE (tenant, node)
) STRICT;
CREATE TABLE revocations (
  id       INTEGER PRIMARY KEY,
  identity BLOB    NOT NULL CHECK (length(identity) = 32),
  reason   TEXT    NOT NULL,
  at_ms    INTEGER NOT NULL CHECK (at_ms >= 0)
) STRICT;
CREATE UNIQUE INDEX revocations_by_identity ON revocations (identity);
)sql",
};

}  // namespace

std::span<const char* const> schema_migrations() noexcept {
  return kMigrations;
}

int migrate(sqlite3* db, int from, std::span<const char* const> migrations) {
  for (size_t done = static_cast<size_t>(from); done < migrations.size(); ++done) {
    const std::string sql = fmt::format("BEGIN IMMEDIATE; {}; PRAGMA user_version = {}; COMMIT",
                                        migrations[done], done + 1);
    if (const int rc = execute(db, sql.c_str()); rc != SQLITE_OK) {
      if (!sqlite3_get_autocommit(db)) execute(db, "ROLLBACK");
      return rc;
    }
  }
  return SQLITE_OK;
}

}  // namespace sluice::control
