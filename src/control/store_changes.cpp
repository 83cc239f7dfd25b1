// What each change does to the tables, and its entry in the feed.
#include <fmt/format.h>

#include "base/address.h"
#include "control/store_database.h"
#include "control/store_feed.h"

namespace sluice::control {
namespace {

// Statements that stay prepared, by place.
enum Sql : size_t {
  kAgentByIdentity,
  kAgentByAddress,
  kAddAgent,
  kUpdateAgent,
  kAddRevocation,
  kMarkRevoked,
  kAddTenant,
  kAddToken,
  kTokenUsed,
  kSpendToken,
  kAddTokenUse,
  kEndToken,
  kAddStatement,
  kAddRequest,
  kRequestState,
  kEndRequest,
  kAddPair,
  kPairStands,
  kPairOf,
  kEndPair,
  kEndPairsOf,
  kRaiseFloor,
  kAddConsent,
  kAddPolicy,
  kAddRelayKey,
  kRetireRelayKey,
  kFirstOf,
  kLastOf,
  kIsRevoked,
  kAddRotation,
  kAddCheckpoint,
  kTrimCheckpoints,
  kForgetCheckpoints,
  kSkipNumbers,
  kAddScopeName,
  kScopeName,
  kForgetQuotaUses,
  kAddQuotaUse,
  kAddFeed,
  kCount
};

constexpr const char* kSql[] = {
    "SELECT tenant, node FROM agents WHERE identity = ?",
    "SELECT name FROM agents WHERE tenant = ? AND node = ?",
    "INSERT INTO agents (identity, tenant, node, name, created_ms, source, visibility, enrol,"
    " expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "UPDATE agents SET name = ?2, source = ?3, visibility = ?4, enrol = ?5, expires_ms = ?6"
    " WHERE identity = ?1",
    "INSERT INTO revocations (identity, reason, at_ms) VALUES (?, ?, ?)"
    " ON CONFLICT (identity) DO NOTHING",
    "UPDATE agents SET revoked = 1 WHERE identity = ?",
    "INSERT INTO tenants (id, name, created_ms) VALUES (?, ?, ?)",
    "INSERT INTO tokens (hash, tenant, uses, used, created_ms, expires_ms, ended)"
    " VALUES (?, ?, ?, 0, ?, ?, 0)",
    "SELECT 1 FROM token_uses WHERE token = ? AND identity = ?",
    "UPDATE tokens SET used = used + 1 WHERE hash = ? AND used < uses AND ended = 0"
    " AND expires_ms > ?",
    "INSERT INTO token_uses (token, identity, at_ms) VALUES (?, ?, ?)",
    "UPDATE tokens SET ended = 1 WHERE hash = ?",
    "INSERT INTO statements (digest, signed) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING",
    "INSERT INTO requests (digest, requester, receiver, received_ms, expires_ms, state)"
    " VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT (digest) DO NOTHING",
    "SELECT state FROM requests WHERE digest = ?",
    "UPDATE requests SET state = ?2, ended_ms = ?3, answer = ?4 WHERE digest = ?1 AND state = 0",
    "INSERT INTO pairs (request, grant_digest, requester, approver, forward_right, backward_right,"
    " made_ms, expires_ms, forward_calls, backward_calls, forward_scopes, backward_scopes,"
    " quota_calls, quota_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (request) DO NOTHING",
    "SELECT 1 FROM pairs WHERE request = ? AND grant_digest = ? AND ended_ms IS NULL",
    "SELECT requester, approver FROM pairs WHERE request = ?",
    "UPDATE pairs SET ended_ms = ?2, end_reason = ?3, end_statement = ?4"
    " WHERE request = ?1 AND ended_ms IS NULL",
    "UPDATE pairs SET ended_ms = ?3, end_reason = ?4, end_statement = ?5"
    " WHERE requester = ?1 AND approver = ?2 AND ended_ms IS NULL AND made_ms <= ?3",
    "INSERT INTO floors (low, high, at_ms) VALUES (?, ?, ?)"
    " ON CONFLICT (low, high) DO UPDATE SET at_ms = max(at_ms, excluded.at_ms)",
    "INSERT INTO consents (request, tenant, at_ms) VALUES (?, ?, ?)"
    " ON CONFLICT (request, tenant) DO NOTHING",
    "INSERT INTO policies (number, yaml, at_ms) VALUES (?, ?, ?)"
    " ON CONFLICT (number) DO UPDATE SET yaml = excluded.yaml WHERE yaml = excluded.yaml",
    "INSERT INTO relay_keys (number, key, replaced, told_ms, replaced_until_ms)"
    " VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (number) DO UPDATE SET key = excluded.key WHERE key = excluded.key",
    "UPDATE relay_keys SET told_ms = max(told_ms, ?2), replaced_until_ms = 0 WHERE number = ?1",
    "SELECT agent FROM rotations WHERE identity = ?",
    "SELECT identity FROM rotations WHERE agent = ? ORDER BY id DESC LIMIT 1",
    "SELECT revoked FROM agents WHERE identity = ?",
    "INSERT INTO rotations (agent, identity, statement, at_ms) VALUES (?, ?, ?, ?)",
    "INSERT INTO audit_checkpoints (size, root, at_ms) VALUES (?, ?, ?)",
    "DELETE FROM audit_checkpoints WHERE id <= last_insert_rowid() - 1000",
    "DELETE FROM audit_checkpoints",
    "INSERT OR REPLACE INTO sqlite_sequence (rowid, name, seq) VALUES"
    " ((SELECT rowid FROM sqlite_sequence WHERE name = 'changes'), 'changes', ?)",
    "INSERT INTO scope_names (tenant, hash, name) VALUES (?, ?, ?)"
    " ON CONFLICT (tenant, hash) DO NOTHING",
    "SELECT name FROM scope_names WHERE tenant = ? AND hash = ?",
    "DELETE FROM quota_uses WHERE ends_ms <= ?",
    "INSERT INTO quota_uses (source, target, period_s, used, ends_ms) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (source, target, period_s)"
    " DO UPDATE SET used = excluded.used, ends_ms = excluded.ends_ms",
    "INSERT INTO changes (at_ms, actor, kind, subject, object) VALUES (?, ?, ?, ?, ?)",
};
static_assert(std::size(kSql) == kCount);

Buffer bytes_of(const std::vector<uint64_t>& words) {
  Buffer out(words.size() * 8);
  for (size_t i = 0; i < words.size(); ++i) store_le(out.data() + 8 * i, words[i]);
  return out;
}

}  // namespace

Result<void> Database::prepare_statements() {
  static_assert(kSqlCount == kCount);
  for (size_t i = 0; i < kCount; ++i) {
    statements_[i] = prepare(db_.get(), kSql[i]);
    if (!statements_[i]) return failed("read");
  }
  return {};
}

Result<void> Database::apply(const Changes& changes) {
  if (auto ok = run("SAVEPOINT operation", "write"); !ok) return ok;
  if (auto ok = apply_all(changes); !ok) {
    if (!broken_) {
      if (auto undone = run("ROLLBACK TO operation; RELEASE operation", "write"); !undone) {
        return undone;
      }
    }
    return ok;
  }
  return run("RELEASE operation", "write");
}

Result<void> Database::apply_all(const Changes& changes) {
  for (const Change& change : changes.list) {
    if (auto ok = std::visit([this](const auto& c) { return one(c); }, change); !ok) return ok;
    const FeedName name = feed_name(change);
    if (name.kind.empty()) continue;
    Run r(statements_[kAddFeed]);
    r.bind(changes.at_ms).bind(std::string_view(changes.actor)).bind(name.kind);
    r.bind(Bytes(name.subject)).bind(Bytes(name.object));
    if (auto ok = finish(r, "write the feed of"); !ok) return ok;
  }
  return {};
}

Result<void> Database::finish(Run& run, const char* what) {
  if (run.step() != SQLITE_DONE) return failed(what);
  return {};
}

Result<ByteArray<32>> Database::first_of(const ByteArray<32>& identity) {
  Run r(statements_[kFirstOf]);
  const int rc = r.bind(Bytes(identity)).step();
  if (rc == SQLITE_DONE) return identity;
  if (rc != SQLITE_ROW || r.blob(0).size() != 32) return failed("read");
  return take<32>(r.blob(0).data());
}

Result<void> Database::one(const AgentRow& row) {
  const VirtualAddress wanted{row.tenant, row.node};
  const auto first = first_of(row.identity);
  if (!first) return tl::unexpected(first.error());
  {
    Run r(statements_[kAgentByIdentity]);
    const int rc = r.bind(Bytes(*first)).step();
    if (rc == SQLITE_ROW) {
      const VirtualAddress has{static_cast<uint16_t>(r.number(0)),
                               static_cast<uint32_t>(r.number(1))};
      if (has == wanted) return {};
      return fail(
          ErrorCode::kConflict,
          fmt::format("{} cannot be given address {}: that identity has address {} for good",
                      row.name, to_string(wanted), to_string(has)));
    }
    if (rc != SQLITE_DONE) return failed("read");
  }
  {
    Run r(statements_[kAgentByAddress]);
    const int rc = r.bind(uint64_t{row.tenant}).bind(uint64_t{row.node}).step();
    if (rc == SQLITE_ROW) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} cannot be given address {}: it belongs to {} for good", row.name,
                              to_string(wanted), r.text(0)));
    }
    if (rc != SQLITE_DONE) return failed("read");
  }
  Run r(statements_[kAddAgent]);
  r.bind(Bytes(row.identity)).bind(uint64_t{row.tenant}).bind(uint64_t{row.node});
  r.bind(std::string_view(row.name)).bind(row.created_ms).bind(uint64_t(row.source));
  r.bind(uint64_t(row.visibility)).bind(Bytes(row.enrol)).bind(row.expires_ms);
  return finish(r, "enrol an agent");
}

Result<void> Database::one(const AgentUpdate& update) {
  const auto first = first_of(update.identity);
  if (!first) return tl::unexpected(first.error());
  Run r(statements_[kUpdateAgent]);
  r.bind(Bytes(*first)).bind(std::string_view(update.name));
  r.bind(uint64_t(update.source)).bind(uint64_t(update.visibility)).bind(Bytes(update.enrol));
  r.bind(update.expires_ms);
  return finish(r, "change an agent");
}

Result<void> Database::one(const RevocationRow& row) {
  Run r(statements_[kAddRevocation]);
  r.bind(Bytes(row.identity)).bind(std::string_view(row.reason)).bind(row.at_ms);
  if (auto ok = finish(r, "record a revocation"); !ok) return ok;
  // Its name is free for another.
  const auto first = first_of(row.identity);
  if (!first) return tl::unexpected(first.error());
  Run mark(statements_[kMarkRevoked]);
  mark.bind(Bytes(*first));
  return finish(mark, "record a revocation");
}

Result<void> Database::one(const TenantRow& row) {
  Run r(statements_[kAddTenant]);
  r.bind(uint64_t{row.id}).bind(std::string_view(row.name)).bind(row.created_ms);
  return finish(r, "add a tenant");
}

Result<void> Database::one(const TokenRow& row) {
  Run r(statements_[kAddToken]);
  r.bind(Bytes(row.hash)).bind(uint64_t{row.tenant}).bind(uint64_t{row.uses});
  r.bind(row.created_ms).bind(row.expires_ms);
  return finish(r, "add a token");
}

Result<void> Database::one(const TokenUse& use) {
  {
    Run r(statements_[kTokenUsed]);
    const int rc = r.bind(Bytes(use.hash)).bind(Bytes(use.identity)).step();
    if (rc == SQLITE_ROW) return {};  // spent once per identity
    if (rc != SQLITE_DONE) return failed("read");
  }
  {
    Run r(statements_[kSpendToken]);
    r.bind(Bytes(use.hash)).bind(use.at_ms);
    if (auto ok = finish(r, "spend a token"); !ok) return ok;
    if (sqlite3_changes(db_.get()) == 0) {
      return fail(ErrorCode::kConflict, "the token is spent, expired or taken back");
    }
  }
  Run r(statements_[kAddTokenUse]);
  r.bind(Bytes(use.hash)).bind(Bytes(use.identity)).bind(use.at_ms);
  return finish(r, "spend a token");
}

Result<void> Database::one(const TokenEnd& end) {
  Run r(statements_[kEndToken]);
  r.bind(Bytes(end.hash));
  return finish(r, "end a token");
}

Result<void> Database::keep_statement(const Digest& digest, Bytes statement) {
  Run r(statements_[kAddStatement]);
  r.bind(Bytes(digest)).bind(statement);
  return finish(r, "keep a statement");
}

Result<void> Database::one(const RequestRow& row) {
  if (auto ok = keep_statement(row.digest, row.statement); !ok) return ok;
  const auto requester = first_of(row.requester);
  if (!requester) return tl::unexpected(requester.error());
  Run r(statements_[kAddRequest]);
  r.bind(Bytes(row.digest)).bind(Bytes(*requester)).bind(Bytes(row.receiver));
  r.bind(row.received_ms).bind(row.expires_ms);
  if (auto ok = finish(r, "keep a request"); !ok) return ok;
  if (sqlite3_changes(db_.get()) != 0) return {};
  Run state(statements_[kRequestState]);
  if (state.bind(Bytes(row.digest)).step() != SQLITE_ROW) return failed("read");
  if (state.number(0) == uint64_t(RequestState::kPending)) return {};
  return fail(ErrorCode::kConflict, "the request has been answered before");
}

Result<void> Database::one(const RequestEnd& end) {
  if (!end.statement.empty()) {
    if (auto ok = keep_statement(end.answer, end.statement); !ok) return ok;
  }
  Run r(statements_[kEndRequest]);
  r.bind(Bytes(end.digest)).bind(uint64_t(end.state)).bind(end.at_ms);
  if (!end.statement.empty()) r.bind(Bytes(end.answer));
  return finish(r, "end a request");
}

Result<void> Database::one(const ConsentRow& row) {
  Run r(statements_[kAddConsent]);
  r.bind(Bytes(row.request)).bind(uint64_t{row.tenant}).bind(row.at_ms);
  return finish(r, "keep a consent");
}

Result<void> Database::one(const PolicyRow& row) {
  Run r(statements_[kAddPolicy]);
  r.bind(row.number).bind(std::string_view(row.yaml)).bind(row.at_ms);
  if (auto ok = finish(r, "keep a policy"); !ok) return ok;
  if (sqlite3_changes(db_.get()) != 0) return {};
  return fail(ErrorCode::kConflict, "another policy was applied in the meantime");
}

Result<void> Database::one(const RelayKeyRow& row) {
  Run r(statements_[kAddRelayKey]);
  r.bind(row.number).bind(Bytes(row.key)).bind(Bytes(row.replaced));
  r.bind(row.told_ms).bind(row.replaced_until_ms);
  if (auto ok = finish(r, "keep the relay's key"); !ok) return ok;
  if (sqlite3_changes(db_.get()) != 0) return {};
  return fail(ErrorCode::kConflict, "the relay's key was replaced by another in the meantime");
}

Result<void> Database::one(const RotationRow& row) {
  const auto first = first_of(row.former);
  const auto taken = first_of(row.successor);
  for (const auto* r : {&first, &taken}) {
    if (!*r) return tl::unexpected(r->error());
  }
  ByteArray<32> current = *first;
  {
    Run last(statements_[kLastOf]);
    const int rc = last.bind(Bytes(*first)).step();
    if (rc == SQLITE_ROW && last.blob(0).size() == 32) current = take<32>(last.blob(0).data());
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return failed("read");
  }
  if (current == row.successor) return {};
  {
    Run agent(statements_[kIsRevoked]);
    const int rc = agent.bind(Bytes(*first)).step();
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return failed("read");
    if (current != row.former || rc == SQLITE_DONE || agent.number(0) != 0) {
      return fail(ErrorCode::kConflict, "the identity that goes is not an agent's any more");
    }
  }
  {
    Run other(statements_[kAgentByIdentity]);
    const int rc = other.bind(Bytes(row.successor)).step();
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) return failed("read");
    if (rc == SQLITE_ROW || *taken != row.successor) {
      return fail(ErrorCode::kConflict, "the identity that comes is or was another agent's");
    }
  }
  if (auto ok = keep_statement(row.digest, row.statement); !ok) return ok;
  Run r(statements_[kAddRotation]);
  r.bind(Bytes(*first)).bind(Bytes(row.successor)).bind(Bytes(row.digest)).bind(row.at_ms);
  return finish(r, "keep a change of identity");
}

Result<void> Database::one(const RelayKeyRetired& retired) {
  Run r(statements_[kRetireRelayKey]);
  r.bind(retired.number).bind(retired.at_ms);
  return finish(r, "retire a key of the relay");
}

Result<void> Database::one(const AuditCheckpointRow& row) {
  {
    Run r(statements_[kAddCheckpoint]);
    r.bind(row.size).bind(Bytes(row.root)).bind(row.at_ms);
    if (auto ok = finish(r, "keep a checkpoint of the audit log"); !ok) return ok;
  }
  Run trim(statements_[kTrimCheckpoints]);
  return finish(trim, "keep a checkpoint of the audit log");
}

Result<void> Database::one(const AuditForgotten&) {
  Run r(statements_[kForgetCheckpoints]);
  return finish(r, "forget the audit log");
}

Result<void> Database::one(const AuditKnown& row) {
  if (auto ok = one(AuditForgotten{}); !ok || row.at_ms == 0) return ok;
  return one(AuditCheckpointRow{row.size, row.root, row.at_ms});
}

Result<void> Database::one(const ChangesForgotten& row) {
  Run r(statements_[kSkipNumbers]);
  r.bind(row.forgotten);
  return finish(r, "number changes behind those that are forgotten");
}

Result<void> Database::one(const ScopeNameRow& row) {
  ByteArray<8> hash;
  store_le(hash.data(), row.hash);
  {
    Run r(statements_[kAddScopeName]);
    r.bind(uint64_t{row.tenant}).bind(Bytes(hash)).bind(std::string_view(row.name));
    if (auto ok = finish(r, "keep a scope's name"); !ok) return ok;
  }
  Run r(statements_[kScopeName]);
  if (r.bind(uint64_t{row.tenant}).bind(Bytes(hash)).step() != SQLITE_ROW) return failed("read");
  if (r.text(0) == row.name) return {};
  return fail(
      ErrorCode::kConflict,
      fmt::format("the scope {} would be taken for {}, which is in use", row.name, r.text(0)));
}

Result<void> Database::one(const QuotaUseRow& row) {
  {
    Run old(statements_[kForgetQuotaUses]);
    old.bind(row.ends_ms - uint64_t{row.period_s} * 1000);
    if (auto ok = finish(old, "keep what is used of a quota"); !ok) return ok;
  }
  Run r(statements_[kAddQuotaUse]);
  r.bind(row.from).bind(row.to).bind(uint64_t{row.period_s}).bind(uint64_t{row.used});
  r.bind(row.ends_ms);
  return finish(r, "keep what is used of a quota");
}

Result<void> Database::one(const PairRow& row) {
  const auto requester = first_of(row.requester);
  const auto approver = first_of(row.approver);
  for (const auto* first : {&requester, &approver}) {
    if (!*first) return tl::unexpected(first->error());
  }
  Run r(statements_[kAddPair]);
  r.bind(Bytes(row.request)).bind(Bytes(row.grant)).bind(Bytes(*requester));
  r.bind(Bytes(*approver)).bind(uint64_t{row.forward}).bind(uint64_t{row.backward});
  r.bind(row.made_ms).bind(row.expires_ms);
  r.bind(uint64_t{row.forward_calls}).bind(uint64_t{row.backward_calls});
  const Buffer forward = bytes_of(row.forward_scopes), backward = bytes_of(row.backward_scopes);
  r.bind(Bytes(forward)).bind(Bytes(backward));
  r.bind(uint64_t{row.quota_calls}).bind(uint64_t{row.quota_s});
  if (auto ok = finish(r, "keep a pair"); !ok) return ok;
  if (sqlite3_changes(db_.get()) != 0) return {};
  Run stands(statements_[kPairStands]);
  const int rc = stands.bind(Bytes(row.request)).bind(Bytes(row.grant)).step();
  if (rc == SQLITE_ROW) return {};
  if (rc != SQLITE_DONE) return failed("read");
  return fail(ErrorCode::kConflict, "the request has made another pair before");
}

Result<void> Database::one(const PairEnd& end) {
  if (!end.statement.empty()) {
    if (auto ok = keep_statement(end.revocation, end.statement); !ok) return ok;
  }
  ByteArray<32> a, b;
  {
    Run r(statements_[kPairOf]);
    const int rc = r.bind(Bytes(end.request)).step();
    if (rc == SQLITE_DONE) return {};
    if (rc != SQLITE_ROW || r.blob(0).size() != 32 || r.blob(1).size() != 32) {
      return failed("end a pair");
    }
    a = take<32>(r.blob(0).data());
    b = take<32>(r.blob(1).data());
  }
  const auto rest = [&](Run& r) {
    r.bind(end.at_ms).bind(std::string_view(end.reason));
    if (!end.statement.empty()) r.bind(Bytes(end.revocation));
    return finish(r, "end a pair");
  };
  {
    Run r(statements_[kEndPair]);
    r.bind(Bytes(end.request));
    if (auto ok = rest(r); !ok) return ok;
  }
  if (!end.revoked) return {};
  // Also one that took its place in a transaction before this one.
  for (const auto& [from, to] : {std::pair{a, b}, std::pair{b, a}}) {
    Run r(statements_[kEndPairsOf]);
    r.bind(Bytes(from)).bind(Bytes(to));
    if (auto ok = rest(r); !ok) return ok;
  }
  Run r(statements_[kRaiseFloor]);
  r.bind(Bytes(std::min(a, b))).bind(Bytes(std::max(a, b))).bind(end.at_ms);
  return finish(r, "end a pair");
}

}  // namespace sluice::control
