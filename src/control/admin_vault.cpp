#include "control/admin_vault.h"

#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice::control {
namespace {

using nlohmann::json;

Result<Vault::Passphrase> passphrase_of(const AdminCall& call) {
  if (call.secret && call.secret->size() > vault::kLongestPassphrase) {
    return fail(ErrorCode::kUsage,
                fmt::format("a passphrase has at most {} bytes", vault::kLongestPassphrase));
  }
  return call.secret && !call.secret->empty() ? call.secret : nullptr;
}

}  // namespace

void AdminVault::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/vault", Role::kAuditor, false,
                    [this](const AdminCall&, http::Respond r) { r(show()); }});
  routes.push_back(
      {"POST", "/v1/vault/init", Role::kAdmin, true,
       [this](const AdminCall& c, http::Respond r) { turn(c, std::move(r), &Vault::init); }});
  routes.push_back(
      {"POST", "/v1/vault/unlock", Role::kAdmin, true,
       [this](const AdminCall& c, http::Respond r) { turn(c, std::move(r), &Vault::unlock); }});
  routes.push_back({"POST", "/v1/vault/lock", Role::kAdmin, true,
                    [this](const AdminCall& c, const http::Respond& r) {
                      control_.vault().lock(c.caller.name, [this, r](const Result<void>& done) {
                        r(done ? show() : http::error_response(done.error()));
                      });
                    }});
  routes.push_back({"POST", "/v1/vault/rotate", Role::kAdmin, true,
                    [this](const AdminCall& c, http::Respond r) { rotate(c, std::move(r)); }});
}

http::Response AdminVault::show() const {
  const Vault& v = control_.vault();
  std::map<uint64_t, uint64_t> records;
  for (const auto& [id, row] : v.credentials()) ++records[row.key];
  json keys = json::array();
  for (const auto& [number, key] : v.data_keys()) {
    keys.push_back({{"number", number}, {"made_at_ms", key.made_ms}, {"records", records[number]}});
  }
  json master;
  if (v.master().number != 0) {
    master = {{"number", v.master().number},
              {"source", name_of(v.master().source)},
              {"made_at_ms", v.master().made_ms}};
  }
  const bool locked = v.state() == VaultState::kLocked;
  return ok({{"state", name_of(v.state())},
             {"unlocking", v.unlocking()},
             {"why", locked ? json(v.why_locked()) : json()},
             {"source", name_of(v.options().source)},
             {"master", master},
             {"data_keys", keys},
             {"credentials", v.credentials().size()},
             {"bindings", v.bindings().size()},
             {"aging", v.aging()},
             {"damaged", v.damaged()}});
}

void AdminVault::turn(const AdminCall& call, http::Respond respond,
                      void (Vault::*how)(Vault::Passphrase, const std::string&, Vault::Done)) {
  auto passphrase = passphrase_of(call);
  if (!passphrase) return respond(http::error_response(passphrase.error()));
  (control_.vault().*how)(std::move(*passphrase), call.caller.name,
                          [this, respond](const Result<void>& r) {
                            respond(r ? show() : http::error_response(r.error()));
                          });
}

void AdminVault::rotate(const AdminCall& call, http::Respond respond) {
  auto passphrase = passphrase_of(call);
  if (!passphrase) return respond(http::error_response(passphrase.error()));
  const json master = call.body.value("master", json(false));
  if (!master.is_boolean()) {
    return respond(refused(ErrorCode::kUsage, "\"master\" is true or false"));
  }
  const auto done = [respond, master](const Result<RotationAnswer>& r) {
    if (!r) return respond(http::error_response(r.error()));
    respond(ok({{"rotated", master.get<bool>() ? "master" : "data"},
                {"key", r->key},
                {"records", r->records}}));
  };
  if (master.get<bool>()) {
    return control_.vault().rotate_master(std::move(*passphrase), call.caller.name, done);
  }
  control_.vault().rotate(call.caller.name, done);
}

}  // namespace sluice::control
