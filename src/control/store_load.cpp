// Reading the store: what holds now, and the feed of what happened.
#include <map>
#include <utility>

#include <fmt/format.h>

#include "control/store_database.h"

namespace sluice::control {
namespace {

// Rows hold an agent's first identity; out come the present ones.
void bring_up_to_date(Snapshot& s) {
  std::map<ByteArray<32>, ByteArray<32>> present;  // by every one before it
  for (auto r = s.rotations.rbegin(); r != s.rotations.rend(); ++r) {
    const auto later = present.find(r->successor);
    present[r->former] = later == present.end() ? r->successor : later->second;
  }
  if (present.empty()) return;
  const auto update = [&](ByteArray<32>& identity) {
    if (const auto it = present.find(identity); it != present.end()) identity = it->second;
  };
  for (auto& a : s.agents) update(a.identity);
  for (auto& r : s.requests) update(r.requester);
  for (auto& p : s.pairs) {
    update(p.requester);
    update(p.approver);
  }
  for (auto& f : s.floors) {
    update(f.low);
    update(f.high);
    if (f.high < f.low) std::swap(f.low, f.high);
  }
  // Whoever was revoked under an earlier one is revoked.
  const size_t known = s.revocations.size();
  for (size_t i = 0; i < known; ++i) {
    RevocationRow also = s.revocations[i];
    update(also.identity);
    if (also.identity != s.revocations[i].identity) s.revocations.push_back(std::move(also));
  }
}

bool get(const Run& r, int column, ByteArray<32>& out) {
  if (r.blob(column).size() != out.size()) return false;
  out = take<32>(r.blob(column).data());
  return true;
}

std::vector<uint64_t> words_of(Bytes bytes) {
  std::vector<uint64_t> out;
  for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
    out.push_back(load_le<uint64_t>(bytes.data() + at));
  }
  return out;
}

}  // namespace

Result<void> Database::each_row(const char* sql, const std::function<bool(const Run&)>& read) {
  const Statement s = prepare(db_.get(), sql);
  if (!s) return failed("read");
  Run r(s);
  for (;;) {
    const int rc = r.step();
    if (rc == SQLITE_DONE) return {};
    if (rc != SQLITE_ROW) return failed("read");
    if (!read(r)) {
      return fail(ErrorCode::kStore,
                  fmt::format("{} is damaged (a key in it has the wrong length): restore it from a "
                              "backup",
                              path_));
    }
  }
}

Result<Snapshot> Database::load() {
  Snapshot out;
  Result<void> ok = each_row(
      "SELECT identity, tenant, node, name, created_ms, source, visibility, enrol, expires_ms"
      " FROM agents ORDER BY tenant, node",
      [&](const Run& r) {
        AgentRow row;
        row.tenant = static_cast<uint16_t>(r.number(1));
        row.node = static_cast<uint32_t>(r.number(2));
        row.name = r.text(3);
        row.created_ms = r.number(4);
        row.source = static_cast<AgentSource>(r.number(5));
        row.visibility = static_cast<Visibility>(r.number(6));
        row.enrol = to_buffer(r.blob(7));
        row.expires_ms = r.number(8);
        const bool good = get(r, 0, row.identity);
        out.agents.push_back(std::move(row));
        return good;
      });
  if (ok) {
    ok = each_row("SELECT identity, reason, at_ms FROM revocations ORDER BY id", [&](const Run& r) {
      out.revocations.push_back({{}, std::string(r.text(1)), r.number(2)});
      return get(r, 0, out.revocations.back().identity);
    });
  }
  if (ok) {
    ok = each_row("SELECT id, name, created_ms FROM tenants ORDER BY id", [&](const Run& r) {
      out.tenants.push_back(
          {static_cast<uint16_t>(r.number(0)), std::string(r.text(1)), r.number(2)});
      return true;
    });
  }
  if (ok) {
    ok = each_row(
        "SELECT hash, tenant, uses, used, created_ms, expires_ms FROM tokens"
        " WHERE ended = 0 AND used < uses ORDER BY created_ms",
        [&](const Run& r) {
          out.tokens.push_back({{},
                                static_cast<uint16_t>(r.number(1)),
                                static_cast<uint32_t>(r.number(2)),
                                static_cast<uint32_t>(r.number(3)),
                                r.number(4),
                                r.number(5),
                                false});
          return get(r, 0, out.tokens.back().hash);
        });
  }
  if (ok) {
    ok = each_row(
        "SELECT digest, requester, receiver, received_ms, expires_ms, signed"
        " FROM requests JOIN statements USING (digest) WHERE state = 0 ORDER BY id",
        [&](const Run& r) {
          RequestRow row;
          const bool good =
              get(r, 0, row.digest) && get(r, 1, row.requester) && get(r, 2, row.receiver);
          row.received_ms = r.number(3);
          row.expires_ms = r.number(4);
          row.statement = to_buffer(r.blob(5));
          out.requests.push_back(std::move(row));
          return good;
        });
  }
  if (ok) {
    ok = each_row(
        "SELECT request, grant_digest, requester, approver, forward_right, backward_right, made_ms,"
        " expires_ms, forward_calls, backward_calls, forward_scopes, backward_scopes, quota_calls,"
        " quota_s FROM pairs WHERE ended_ms IS NULL ORDER BY id",
        [&](const Run& r) {
          PairRow& row = out.pairs.emplace_back();
          row.forward = static_cast<uint8_t>(r.number(4));
          row.backward = static_cast<uint8_t>(r.number(5));
          row.made_ms = r.number(6);
          row.expires_ms = r.number(7);
          row.forward_calls = static_cast<uint16_t>(r.number(8));
          row.backward_calls = static_cast<uint16_t>(r.number(9));
          row.forward_scopes = words_of(r.blob(10));
          row.backward_scopes = words_of(r.blob(11));
          row.quota_calls = static_cast<uint32_t>(r.number(12));
          row.quota_s = static_cast<uint32_t>(r.number(13));
          return get(r, 0, row.request) && get(r, 1, row.grant) && get(r, 2, row.requester) &&
                 get(r, 3, row.approver);
        });
  }
  if (ok) {
    ok = each_row("SELECT low, high, at_ms FROM floors", [&](const Run& r) {
      FloorRow& row = out.floors.emplace_back();
      row.at_ms = r.number(2);
      return get(r, 0, row.low) && get(r, 1, row.high);
    });
  }
  if (ok) {
    ok = each_row(
        "SELECT request, tenant, consents.at_ms FROM consents JOIN requests ON digest = request"
        " WHERE state = 0",
        [&](const Run& r) {
          ConsentRow& row = out.consents.emplace_back();
          row.tenant = static_cast<uint16_t>(r.number(1));
          row.at_ms = r.number(2);
          return get(r, 0, row.request);
        });
  }
  if (ok) {
    ok = each_row("SELECT number, yaml, at_ms FROM policies ORDER BY number DESC LIMIT 1",
                  [&](const Run& r) {
                    out.policy = {r.number(0), std::string(r.text(1)), r.number(2)};
                    return true;
                  });
  }
  if (ok) {
    ok = each_row(
        "SELECT number, key, replaced, told_ms, replaced_until_ms FROM relay_keys ORDER BY number",
        [&](const Run& r) {
          RelayKeyRow& row = out.relay_keys.emplace_back();
          row.number = r.number(0);
          row.told_ms = r.number(3);
          row.replaced_until_ms = r.number(4);
          return get(r, 1, row.key) && get(r, 2, row.replaced);
        });
  }
  if (ok) {
    std::map<ByteArray<32>, ByteArray<32>> last;  // by the first
    ok = each_row(
        "SELECT agent, identity, statement, at_ms FROM rotations ORDER BY id", [&](const Run& r) {
          RotationRow& row = out.rotations.emplace_back();
          ByteArray<32> first{};
          row.at_ms = r.number(3);
          const bool good = get(r, 0, first) && get(r, 1, row.successor) && get(r, 2, row.digest);
          auto& before = last.try_emplace(first, first).first->second;
          row.former = std::exchange(before, row.successor);
          return good;
        });
  }
  if (ok) {
    ok = each_row("SELECT size, root, at_ms FROM audit_checkpoints ORDER BY id DESC LIMIT 1",
                  [&](const Run& r) {
                    out.audit.size = r.number(0);
                    out.audit.at_ms = r.number(2);
                    return get(r, 1, out.audit.root);
                  });
  }
  if (ok) {
    ok = each_row("SELECT tenant, hash, name FROM scope_names", [&](const Run& r) {
      const auto hash = words_of(r.blob(1));
      out.scope_names.push_back(
          {static_cast<uint16_t>(r.number(0)), hash.empty() ? 0 : hash[0], std::string(r.text(2))});
      return hash.size() == 1;
    });
  }
  if (ok) {
    ok = each_row(
        "SELECT source, target, period_s, used, ends_ms FROM quota_uses", [&](const Run& r) {
          out.quota_uses.push_back({r.number(0), r.number(1), static_cast<uint32_t>(r.number(2)),
                                    static_cast<uint32_t>(r.number(3)), r.number(4)});
          return true;
        });
  }
  if (ok) ok = load_vault(out.vault);
  if (!ok) return tl::unexpected<Error>(std::move(ok.error()));
  bring_up_to_date(out);
  return out;
}

Result<std::vector<FeedEntry>> Database::feed(uint64_t after, uint32_t limit) {
  const Statement s = prepare(db_.get(),
                              "SELECT seq, at_ms, actor, kind, subject, object FROM changes"
                              " WHERE seq > ? ORDER BY seq LIMIT ?");
  if (!s) return failed("read");
  std::vector<FeedEntry> out;
  Run r(s);
  r.bind(after).bind(uint64_t{limit});
  int rc;
  while ((rc = r.step()) == SQLITE_ROW) {
    out.push_back({r.number(0), r.number(1), std::string(r.text(2)), std::string(r.text(3)),
                   to_buffer(r.blob(4)), to_buffer(r.blob(5))});
  }
  if (rc != SQLITE_DONE) return failed("read");
  return out;
}

Result<std::vector<AuditFeedEntry>> Database::audit_feed(uint64_t after, uint32_t limit) {
  const Statement s = prepare(
      db_.get(),
      "SELECT seq, c.at_ms, actor, kind, subject, object,"
      " coalesce(p.requester, r.requester), coalesce(p.approver, r.receiver)"
      " FROM changes c"
      " LEFT JOIN pairs p ON kind IN ('pair_ended', 'pair_revoked') AND p.request = subject"
      " LEFT JOIN requests r ON kind IN ('request_granted', 'request_rejected', 'request_expired',"
      " 'request_consented') AND r.digest = subject"
      " WHERE seq > ? ORDER BY seq LIMIT ?");
  if (!s) return failed("read");
  std::vector<AuditFeedEntry> out;
  Run r(s);
  r.bind(after).bind(uint64_t{limit});
  int rc;
  while ((rc = r.step()) == SQLITE_ROW) {
    AuditFeedEntry& e = out.emplace_back();
    e.entry = {
        r.number(0),          r.number(1),         std::string(r.text(2)), std::string(r.text(3)),
        to_buffer(r.blob(4)), to_buffer(r.blob(5))};
    // Not there: zeros.
    (void)get(r, 6, e.from);
    (void)get(r, 7, e.to);
  }
  if (rc != SQLITE_DONE) return failed("read");
  return out;
}

Result<uint64_t> Database::last_change() {
  return one_number("SELECT coalesce(max(seq), 0) FROM changes");
}

Result<Buffer> Database::statement(const Digest& digest) {
  const Statement s = prepare(db_.get(), "SELECT signed FROM statements WHERE digest = ?");
  if (!s) return failed("read");
  Run r(s);
  const int rc = r.bind(Bytes(digest)).step();
  if (rc == SQLITE_DONE) return Buffer{};
  if (rc != SQLITE_ROW) return failed("read");
  return to_buffer(r.blob(0));
}

}  // namespace sluice::control
