// The vault's part of the store. It changes now and then, so its statements are prepared when they
// are needed.
#include <fmt/format.h>

#include "control/store_database.h"

namespace sluice::control {

Result<void> Database::write_vault(const char* sql, const std::function<void(Run&)>& bind) {
  const Statement s = prepare(db_.get(), sql);
  if (!s) return failed("change the vault in");
  Run r(s);
  bind(r);
  return finish(r, "change the vault in");
}

Result<void> Database::one(const VaultMasterSet& set) {
  const vault::MasterRecord& m = set.master;
  auto ok =
      write_vault("DELETE FROM vault_master WHERE number < ?", [&](Run& r) { r.bind(m.number); });
  if (!ok) return ok;
  ok = write_vault(
      "INSERT INTO vault_master (number, source, parameters, proof, made_ms)"
      " VALUES (?, ?, ?, ?, ?) ON CONFLICT (number) DO UPDATE SET number = number"
      " WHERE proof = excluded.proof",
      [&](Run& r) {
        r.bind(m.number).bind(uint64_t(m.source)).bind(Bytes(m.parameters)).bind(Bytes(m.check));
        r.bind(m.made_ms);
      });
  if (!ok || sqlite3_changes(db_.get()) != 0) return ok;
  return fail(ErrorCode::kConflict, "the vault got another master key in the meantime");
}

Result<void> Database::one(const VaultKeyAdded& added) {
  const vault::WrappedKey& k = added.key;
  return write_vault(
      "INSERT INTO vault_keys (number, master, made_ms, wrapped) VALUES (?, ?, ?, ?)"
      " ON CONFLICT (number) DO NOTHING",
      [&](Run& r) { r.bind(k.number).bind(k.master).bind(k.made_ms).bind(Bytes(k.wrapped)); });
}

Result<void> Database::one(const VaultKeyWrapped& again) {
  const vault::WrappedKey& k = again.key;
  return write_vault("UPDATE vault_keys SET master = ?2, wrapped = ?3 WHERE number = ?1",
                     [&](Run& r) { r.bind(k.number).bind(k.master).bind(Bytes(k.wrapped)); });
}

Result<void> Database::one(const VaultKeyRemoved& removed) {
  return write_vault("DELETE FROM vault_keys WHERE number = ?",
                     [&](Run& r) { r.bind(removed.number); });
}

Result<void> Database::one(const CredentialRow& row) {
  return write_vault(
      "INSERT INTO credentials (id, tenant, name, version, parts, vault_key, sealed, life, made_ms,"
      " set_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
      " ON CONFLICT (id) DO UPDATE SET version = excluded.version, parts = excluded.parts,"
      " vault_key = excluded.vault_key, sealed = excluded.sealed, life = excluded.life,"
      " set_ms = excluded.set_ms",
      [&](Run& r) {
        r.bind(row.id).bind(uint64_t{row.tenant}).bind(std::string_view(row.name));
        r.bind(uint64_t{row.version}).bind(uint64_t{row.parts}).bind(row.key);
        r.bind(Bytes(row.sealed)).bind(std::string_view(row.life)).bind(row.made_ms);
        r.bind(row.set_ms);
      });
}

Result<void> Database::one(const CredentialSealed& again) {
  return write_vault("UPDATE credentials SET vault_key = ?2, sealed = ?3 WHERE id = ?1",
                     [&](Run& r) { r.bind(again.id).bind(again.key).bind(Bytes(again.sealed)); });
}

Result<void> Database::one(const CredentialEnd& end) {
  auto ok =
      write_vault("DELETE FROM bindings WHERE credential = ?", [&](Run& r) { r.bind(end.id); });
  if (!ok) return ok;
  return write_vault("DELETE FROM credentials WHERE id = ?", [&](Run& r) { r.bind(end.id); });
}

Result<void> Database::one(const BindingRow& row) {
  auto ok = write_vault(
      "INSERT INTO bindings (target, protocol, credential, vault_key, proof, at_ms)"
      " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (target, protocol) DO UPDATE SET"
      " vault_key = excluded.vault_key, proof = excluded.proof"
      " WHERE credential = excluded.credential",
      [&](Run& r) {
        r.bind(row.target).bind(uint64_t{row.protocol}).bind(row.id).bind(row.key);
        r.bind(Bytes(row.proof)).bind(row.at_ms);
      });
  if (!ok || sqlite3_changes(db_.get()) != 0) return ok;
  return fail(ErrorCode::kConflict, "those calls got another credential in the meantime");
}

Result<void> Database::one(const BindingSealed& again) {
  return write_vault(
      "UPDATE bindings SET vault_key = ?3, proof = ?4 WHERE target = ?1 AND protocol = ?2",
      [&](Run& r) {
        r.bind(again.target).bind(uint64_t{again.protocol}).bind(again.key);
        r.bind(Bytes(again.proof));
      });
}

Result<void> Database::one(const BindingEnd& end) {
  return write_vault("DELETE FROM bindings WHERE target = ? AND protocol = ? AND credential = ?",
                     [&](Run& r) { r.bind(end.target).bind(uint64_t{end.protocol}).bind(end.id); });
}

Result<void> Database::load_vault(VaultRows& out) {
  auto ok = each_row(
      "SELECT number, source, parameters, proof, made_ms FROM vault_master"
      " ORDER BY number DESC LIMIT 1",
      [&](const Run& r) {
        out.master = {r.number(0), static_cast<vault::KeySource>(r.number(1)), to_buffer(r.blob(2)),
                      to_buffer(r.blob(3)), r.number(4)};
        return true;
      });
  if (!ok) return ok;
  ok = each_row("SELECT number, master, made_ms, wrapped FROM vault_keys ORDER BY number",
                [&](const Run& r) {
                  out.keys.push_back({r.number(0), r.number(1), r.number(2), to_buffer(r.blob(3))});
                  return true;
                });
  if (!ok) return ok;
  ok = each_row(
      "SELECT id, tenant, name, version, parts, vault_key, sealed, life, made_ms, set_ms"
      " FROM credentials ORDER BY tenant, name",
      [&](const Run& r) {
        out.credentials.push_back(
            {r.number(0), static_cast<uint16_t>(r.number(1)), std::string(r.text(2)),
             static_cast<uint32_t>(r.number(3)), static_cast<uint8_t>(r.number(4)), r.number(5),
             to_buffer(r.blob(6)), std::string(r.text(7)), r.number(8), r.number(9)});
        return true;
      });
  if (!ok) return ok;
  return each_row(
      "SELECT target, protocol, credential, vault_key, proof, at_ms FROM bindings"
      " ORDER BY target, protocol",
      [&](const Run& r) {
        out.bindings.push_back({r.number(0),
                                static_cast<uint8_t>(r.number(1)),
                                r.number(2),
                                r.number(3),
                                to_buffer(r.blob(4)),
                                r.number(5),
                                {}});
        return true;
      });
}

}  // namespace sluice::control
