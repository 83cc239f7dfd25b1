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
    // Statements are evidence and are not read at start, so they have a table of their own.
    R"sql(
ALTER TABLE agents ADD COLUMN source INTEGER NOT NULL DEFAULT 0 CHECK (source BETWEEN 0 AND 2);
ALTER TABLE agents ADD COLUMN visibility INTEGER NOT NULL DEFAULT 0 CHECK (visibility IN (0, 1));
ALTER TABLE agents ADD COLUMN enrol BLOB NOT NULL DEFAULT x'';
ALTER TABLE agents ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1));
UPDATE agents SET revoked = 1 WHERE identity IN (SELECT identity FROM revocations);
CREATE UNIQUE INDEX agents_by_name ON agents (tenant, name) WHERE source <> 0 AND revoked = 0;
CREATE TABLE tenants (
  id         INTEGER PRIMARY KEY CHECK (id BETWEEN 1 AND 0xffff),
  name       TEXT    NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE tokens (
  hash       BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  tenant     INTEGER NOT NULL CHECK (tenant BETWEEN 1 AND 0xffff),
  uses       INTEGER NOT NULL CHECK (uses > 0),
  used       INTEGER NOT NULL CHECK (used BETWEEN 0 AND uses),
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  ended      INTEGER NOT NULL CHECK (ended IN (0, 1))
) STRICT;
CREATE TABLE token_uses (
  token    BLOB    NOT NULL REFERENCES tokens (hash),
  identity BLOB    NOT NULL REFERENCES agents (identity),
  at_ms    INTEGER NOT NULL,
  PRIMARY KEY (token, identity)
) STRICT;
CREATE TABLE statements (
  digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
  signed BLOB NOT NULL
) STRICT;
CREATE TABLE requests (
  id          INTEGER PRIMARY KEY,
  digest      BLOB    NOT NULL UNIQUE REFERENCES statements (digest),
  requester   BLOB    NOT NULL REFERENCES agents (identity),
  receiver    BLOB    NOT NULL CHECK (length(receiver) = 32),
  received_ms INTEGER NOT NULL,
  expires_ms  INTEGER NOT NULL,
  state       INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
  ended_ms    INTEGER,
  answer      BLOB REFERENCES statements (digest)
) STRICT;
CREATE INDEX requests_pending ON requests (id) WHERE state = 0;
CREATE TABLE pairs (
  id             INTEGER PRIMARY KEY,
  request        BLOB    NOT NULL UNIQUE REFERENCES statements (digest),
  grant_digest   BLOB    NOT NULL REFERENCES statements (digest),
  requester      BLOB    NOT NULL REFERENCES agents (identity),
  approver       BLOB    NOT NULL REFERENCES agents (identity),
  forward_right  INTEGER NOT NULL CHECK (forward_right BETWEEN 1 AND 3),
  backward_right INTEGER NOT NULL CHECK (backward_right BETWEEN 1 AND 3),
  made_ms        INTEGER NOT NULL,
  expires_ms     INTEGER NOT NULL,
  ended_ms       INTEGER,
  end_reason     TEXT,
  end_statement  BLOB REFERENCES statements (digest)
) STRICT;
CREATE INDEX pairs_standing ON pairs (id) WHERE ended_ms IS NULL;
CREATE INDEX pairs_of ON pairs (requester, approver) WHERE ended_ms IS NULL;
CREATE TABLE floors (
  low   BLOB    NOT NULL CHECK (length(low) = 32),
  high  BLOB    NOT NULL CHECK (length(high) = 32 AND low < high),
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (low, high)
) STRICT;
CREATE TABLE changes (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  at_ms   INTEGER NOT NULL,
  actor   TEXT    NOT NULL,
  kind    TEXT    NOT NULL,
  subject BLOB    NOT NULL,
  object  BLOB    NOT NULL
) STRICT;
)sql",
    R"sql(
CREATE TABLE consents (
  request BLOB    NOT NULL REFERENCES requests (digest),
  tenant  INTEGER NOT NULL CHECK (tenant BETWEEN 1 AND 0xffff),
  at_ms   INTEGER NOT NULL,
  PRIMARY KEY (request, tenant)
) STRICT;
CREATE TABLE policies (
  number INTEGER PRIMARY KEY CHECK (number > 0),
  yaml   TEXT    NOT NULL,
  at_ms  INTEGER NOT NULL
) STRICT;
)sql",
    R"sql(
CREATE TABLE relay_keys (
  number            INTEGER PRIMARY KEY CHECK (number > 0),
  key               BLOB    NOT NULL UNIQUE CHECK (length(key) = 32),
  replaced          BLOB    NOT NULL CHECK (length(replaced) = 32),
  told_ms           INTEGER NOT NULL,
  replaced_until_ms INTEGER NOT NULL
) STRICT;
)sql",
    // The rows of agents keep their first identity, which others refer to.
    R"sql(
CREATE TABLE rotations (
  id        INTEGER PRIMARY KEY,
  agent     BLOB    NOT NULL REFERENCES agents (identity),
  identity  BLOB    NOT NULL UNIQUE CHECK (length(identity) = 32),
  statement BLOB    NOT NULL REFERENCES statements (digest),
  at_ms     INTEGER NOT NULL
) STRICT;
CREATE INDEX rotations_of ON rotations (agent, id);
)sql",
    R"sql(
CREATE TABLE audit_checkpoints (
  id    INTEGER PRIMARY KEY AUTOINCREMENT,
  size  INTEGER NOT NULL CHECK (size >= 0),
  root  BLOB    NOT NULL CHECK (length(root) = 32),
  at_ms INTEGER NOT NULL
) STRICT;
)sql",
    // What calls may use: capabilities in the low byte, protocols in the next. A pair of before
    // knew nothing of calls, and has none.
    R"sql(
ALTER TABLE pairs ADD COLUMN forward_calls INTEGER NOT NULL DEFAULT 0
  CHECK (forward_calls BETWEEN 0 AND 65535);
ALTER TABLE pairs ADD COLUMN backward_calls INTEGER NOT NULL DEFAULT 0
  CHECK (backward_calls BETWEEN 0 AND 65535);
)sql",
    // Scopes as envelopes name them, eight bytes each.
    R"sql(
ALTER TABLE pairs ADD COLUMN forward_scopes BLOB NOT NULL DEFAULT x''
  CHECK (length(forward_scopes) % 8 = 0);
ALTER TABLE pairs ADD COLUMN backward_scopes BLOB NOT NULL DEFAULT x''
  CHECK (length(backward_scopes) % 8 = 0);
ALTER TABLE pairs ADD COLUMN quota_calls INTEGER NOT NULL DEFAULT 0 CHECK (quota_calls >= 0);
ALTER TABLE pairs ADD COLUMN quota_s INTEGER NOT NULL DEFAULT 0 CHECK (quota_s >= 0);
CREATE TABLE scope_names (
  tenant INTEGER NOT NULL CHECK (tenant BETWEEN 0 AND 0xffff),
  hash   BLOB    NOT NULL CHECK (length(hash) = 8),
  name   TEXT    NOT NULL,
  PRIMARY KEY (tenant, hash)
) STRICT;
CREATE TABLE quota_uses (
  source   INTEGER NOT NULL,
  target   INTEGER NOT NULL,
  period_s INTEGER NOT NULL CHECK (period_s > 0),
  used     INTEGER NOT NULL CHECK (used >= 0),
  ends_ms  INTEGER NOT NULL,
  PRIMARY KEY (source, target, period_s)
) STRICT;
CREATE INDEX quota_uses_by_end ON quota_uses (ends_ms);
)sql",
    // Until when an agent is admitted; 0: no end.
    R"sql(
ALTER TABLE agents ADD COLUMN expires_ms INTEGER NOT NULL DEFAULT 0 CHECK (expires_ms >= 0);
)sql",
    // The vault: nothing in it is of use without the master key, which is elsewhere.
    R"sql(
CREATE TABLE vault_master (
  number     INTEGER PRIMARY KEY,
  source     INTEGER NOT NULL,
  parameters BLOB    NOT NULL,
  proof      BLOB    NOT NULL,
  made_ms    INTEGER NOT NULL
) STRICT;
CREATE TABLE vault_keys (
  number  INTEGER PRIMARY KEY,
  master  INTEGER NOT NULL,
  made_ms INTEGER NOT NULL,
  wrapped BLOB    NOT NULL
) STRICT;
CREATE TABLE credentials (
  id        INTEGER PRIMARY KEY CHECK (id > 0),
  tenant    INTEGER NOT NULL CHECK (tenant BETWEEN 0 AND 0xffff),
  name      TEXT    NOT NULL,
  version   INTEGER NOT NULL CHECK (version > 0),
  parts     INTEGER NOT NULL CHECK (parts BETWEEN 0 AND 255),
  vault_key INTEGER NOT NULL REFERENCES vault_keys,
  sealed    BLOB    NOT NULL,
  life      TEXT    NOT NULL,
  made_ms   INTEGER NOT NULL,
  set_ms    INTEGER NOT NULL,
  UNIQUE (tenant, name)
) STRICT;
CREATE TABLE bindings (
  target     INTEGER NOT NULL,
  protocol   INTEGER NOT NULL CHECK (protocol BETWEEN 0 AND 255),
  credential INTEGER NOT NULL REFERENCES credentials,
  vault_key  INTEGER NOT NULL REFERENCES vault_keys,
  proof      BLOB    NOT NULL,
  at_ms      INTEGER NOT NULL,
  PRIMARY KEY (target, protocol)
) STRICT;
CREATE INDEX bindings_by_credential ON bindings (credential);
CREATE INDEX bindings_by_key ON bindings (vault_key);
CREATE INDEX credentials_by_key ON credentials (vault_key);
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
