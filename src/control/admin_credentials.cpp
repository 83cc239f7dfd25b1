#include "control/admin_credentials.h"

#include <bit>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "crypto/text.h"
#include "vault/content.h"
#include "wire/call.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestAgeS = 100ull * 366 * 24 * 3600;
constexpr size_t kMostWindowsSet = 32;

const char* state_name(CredentialState s) {
  return s == CredentialState::kUsable          ? "usable"
         : s == CredentialState::kOutsideWindow ? "outside_window"
                                                : "unavailable";
}

json or_null(uint64_t ms) {
  return ms == 0 ? json() : json(ms);
}

// The texts of a list, each read by `parse`.
Result<void> read_windows(const json& body, const char* key,
                          Result<TimeWindow> (*parse)(std::string_view), WindowSet& out) {
  if (!body.contains(key)) return {};
  if (!body[key].is_array() || body[key].size() > kMostWindowsSet) {
    return fail(ErrorCode::kUsage,
                fmt::format("\"{}\" is a list of at most {} texts", key, kMostWindowsSet));
  }
  for (const json& text : body[key]) {
    if (!text.is_string()) {
      return fail(ErrorCode::kUsage, fmt::format("\"{}\" is a list of texts", key));
    }
    auto window = parse(text.get<std::string>());
    if (!window) return tl::unexpected(window.error());
    out.push_back(std::move(*window));
  }
  return {};
}

Result<void> read_instant(const json& body, const char* key, uint64_t& out) {
  if (!body.contains(key)) return {};
  const auto text = text_of(body, key, "a time, such as 2026-12-01T08:00 Europe/Vienna");
  if (!text) return tl::unexpected(text.error());
  const auto at = parse_instant(*text);
  if (!at) return tl::unexpected(at.error());
  out = *at;
  return {};
}

// None: the request says nothing of it.
Result<std::optional<CredentialLife>> read_life(const json& body) {
  std::optional<CredentialLife> out;
  const json without = body.value("without_limits", json(false));
  if (!without.is_boolean()) {
    return fail(ErrorCode::kUsage, "\"without_limits\" is true or false");
  }
  bool limits = false;
  for (const char* key : {"hours", "windows", "not_before", "not_after", "max_age_s"}) {
    limits = limits || body.contains(key);
  }
  if (!limits && !without.get<bool>()) return out;
  if (limits && without.get<bool>()) {
    return fail(ErrorCode::kUsage, "\"without_limits\" stands beside limits: give one of them");
  }
  out.emplace();
  Result<void> ok = read_windows(body, "hours", parse_hours, out->windows);
  if (ok) ok = read_windows(body, "windows", parse_scheduled, out->windows);
  if (ok) ok = read_instant(body, "not_before", out->not_before_ms);
  if (ok) ok = read_instant(body, "not_after", out->not_after_ms);
  if (!ok) return tl::unexpected(ok.error());
  const auto age_s = number_of(body, "max_age_s", 1, kLongestAgeS, 0);
  if (!age_s) return tl::unexpected(age_s.error());
  out->max_age_ms = *age_s * 1000;
  if (out->not_after_ms != 0 && out->not_after_ms <= out->not_before_ms) {
    return fail(ErrorCode::kUsage, "\"not_after\" is no later than \"not_before\"");
  }
  return out;
}

}  // namespace

void AdminCredentials::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/credentials", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { r(list(c.caller)); }});
  routes.push_back({"POST", "/v1/credentials", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { set(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/credentials/delete", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { remove(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/credentials/bind", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { bind(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/credentials/unbind", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { unbind(c, std::move(r)); }});
}

json AdminCredentials::credential_json(const CredentialRow& row, const Bound& bound) const {
  const Vault& v = control_.vault();
  const uint64_t now = control_.around().clock.unix_ms();
  const CredentialLife& life = v.life_of(row.id);
  const CredentialStatus status = v.status_of(row.id, static_cast<int64_t>(now));
  json windows = json::array();
  for (const TimeWindow& w : life.windows) windows.push_back(to_string(w));
  json bindings = json::array();
  const auto [first, last] = bound.equal_range(row.id);
  for (auto it = first; it != last; ++it) {
    const BindingRow& binding = *it->second;
    const CredentialPlace place{VirtualAddress::from_u64(binding.target), binding.protocol};
    const AgentEntry* agent = control_.trust().by_address(place.target);
    const std::string problem = control_.credential_slots().problem(place);
    bindings.push_back({{"target", agent == nullptr ? json() : json(agent->name)},
                        {"address", to_string(place.target)},
                        {"protocol", wire::name_of(wire::kProtocolNames, place.protocol)},
                        {"bound_at_ms", binding.at_ms},
                        {"why", problem.empty() ? json() : json(problem)}});
  }
  const bool by_time = status.until_ms != 0 && status.until_ms != INT64_MAX;
  const uint64_t aging = aging_from_ms(life, row.set_ms);
  return {{"id", row.id},
          {"name", row.name},
          {"tenant", row.tenant},
          {"tenant_name", control_.enrolment().tenant_name(row.tenant)},
          {"parts", vault::part_names(row.parts)},
          {"version", row.version},
          {"made_at_ms", row.made_ms},
          {"set_at_ms", row.set_ms},
          {"age_s", now > row.set_ms ? (now - row.set_ms) / 1000 : 0},
          {"state", state_name(status.state)},
          {"why", status.why.empty() ? json() : json(status.why)},
          {"until_ms", by_time ? json(status.until_ms) : json()},
          {"opens_at_ms", or_null(static_cast<uint64_t>(status.opens_ms))},
          {"windows", windows},
          {"not_before_ms", or_null(life.not_before_ms)},
          {"not_after_ms", or_null(life.not_after_ms)},
          {"max_age_s", or_null(life.max_age_ms / 1000)},
          {"aging", aging != 0 && now >= aging},
          {"bindings", bindings}};
}

AdminCredentials::Bound AdminCredentials::bound() const {
  Bound out;
  for (const auto& [place, row] : control_.vault().bindings()) out.emplace(row.id, &row);
  return out;
}

http::Response AdminCredentials::list(const Caller& caller) const {
  json out = json::array();
  const Bound all = bound();
  std::map<std::pair<uint16_t, std::string>, const CredentialRow*> sorted;
  for (const auto& [id, row] : control_.vault().credentials()) {
    if (caller.sees(row.tenant)) sorted[{row.tenant, row.name}] = &row;
  }
  for (const auto& [name, row] : sorted) out.push_back(credential_json(*row, all));
  return ok({{"credentials", out}});
}

Result<uint16_t> AdminCredentials::tenant(const AdminCall& call) const {
  const auto text = text_of(call.body, "tenant", "a tenant's name or number");
  if (!text) return tl::unexpected(text.error());
  const auto id = control_.enrolment().tenant(*text);
  if (!id) return id;
  if (const auto may = may_touch(call.caller, *id); !may) return tl::unexpected(may.error());
  return id;
}

Result<uint64_t> AdminCredentials::credential(const AdminCall& call) const {
  const auto of = tenant(call);
  if (!of) return tl::unexpected(of.error());
  const auto name = text_of(call.body, "name", "the credential's name");
  if (!name) return tl::unexpected(name.error());
  const CredentialRow* row = control_.vault().by_name(*of, *name);
  if (row != nullptr) return row->id;
  return fail(ErrorCode::kNotFound,
              fmt::format("tenant {} has no credential {}: sluicectl credential list", *of, *name));
}

Result<CredentialPlace> AdminCredentials::place(const AdminCall& call) const {
  const auto who = text_of(call.body, "target", "the agent that the calls are to");
  const auto what = text_of(call.body, "protocol", "raw, a2a, mcp, openai, anp or acp");
  for (const auto* r : {&who, &what}) {
    if (!*r) return tl::unexpected(r->error());
  }
  const auto of = tenant(call);
  if (!of) return tl::unexpected(of.error());
  Error why;
  const AgentEntry* agent = control_.trust().resolve(*who, &why, *of);
  if (agent == nullptr) return tl::unexpected(why);
  const uint8_t bit = wire::protocol_bit(*what);
  if (bit == 0) {
    return fail(ErrorCode::kUsage, "\"protocol\" is raw, a2a, mcp, openai, anp or acp");
  }
  return CredentialPlace{agent->address, static_cast<uint8_t>(std::countr_zero(bit))};
}

void AdminCredentials::set(const AdminCall& call, http::Respond respond) {
  const auto of = tenant(call);
  if (!of) return respond(http::error_response(of.error()));
  const auto name = text_of(call.body, "name", "what the credential is to be called");
  if (!name) return respond(http::error_response(name.error()));
  if (!call.secret) {
    return respond(refused(ErrorCode::kUsage,
                           fmt::format("the credential is the body, as {}, and this the query's "
                                       "\"about\": docs/credentials.md",
                                       http::kSecretType)));
  }
  // The relay itself asks its token URL, from where it stands in its operators' network.
  const auto parts = vault::check_content(call.secret->view());
  if (call.caller.tenant && parts && (*parts & vault::kOauth2Part) != 0) {
    return respond(refused(ErrorCode::kPermission,
                           "OAuth2 clients are set by an operator of all tenants, since the relay "
                           "asks their token URLs itself"));
  }
  auto life = read_life(call.body);
  if (!life) return respond(http::error_response(life.error()));
  NewCredential what{*of, *name, call.secret, std::move(*life), {}};
  if (call.body.contains("target") || call.body.contains("protocol")) {
    const auto where = place(call);
    if (!where) return respond(http::error_response(where.error()));
    what.place = *where;
  }
  control_.vault().set(std::move(what), call.caller.name,
                       [this, respond, of = *of, name = *name](const Result<uint32_t>& r) {
                         if (!r) return respond(http::error_response(r.error()));
                         respond(ok(credential_json(*control_.vault().by_name(of, name), bound())));
                       });
}

void AdminCredentials::remove(const AdminCall& call, http::Respond respond) {
  const auto id = credential(call);
  if (!id) return respond(http::error_response(id.error()));
  control_.vault().remove(*id, call.caller.name,
                          [respond, name = call.body["name"]](const Result<void>& r) {
                            if (!r) return respond(http::error_response(r.error()));
                            respond(ok({{"name", name}, {"deleted", true}}));
                          });
}

void AdminCredentials::bind(const AdminCall& call, http::Respond respond) {
  const auto id = credential(call);
  const auto where = id ? place(call) : tl::unexpected(id.error());
  if (!where) return respond(http::error_response(where.error()));
  control_.vault().bind(
      *id, *where, call.caller.name, [this, respond, id = *id](const Result<void>& r) {
        if (!r) return respond(http::error_response(r.error()));
        respond(ok(credential_json(control_.vault().credentials().at(id), bound())));
      });
}

void AdminCredentials::unbind(const AdminCall& call, http::Respond respond) {
  const auto where = place(call);
  if (!where) return respond(http::error_response(where.error()));
  control_.vault().unbind(
      *where, call.caller.name, [respond, body = call.body](const Result<void>& r) {
        if (!r) return respond(http::error_response(r.error()));
        respond(
            ok({{"target", body["target"]}, {"protocol", body["protocol"]}, {"unbound", true}}));
      });
}

}  // namespace sluice::control
