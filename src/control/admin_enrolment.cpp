#include "control/admin_enrolment.h"

#include <arpa/inet.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestTokenS = 365ull * 24 * 3600;
constexpr uint64_t kLongestAgentS = 100 * kLongestTokenS;
constexpr uint32_t kMostUses = 1'000'000;
constexpr size_t kTokenIdBytes = 6;

std::string token_id(const Digest& hash) {
  return crypto::to_hex(Bytes(hash).first(kTokenIdBytes));
}

json token_json(const Enrolment& enrolment, const TokenRow& t) {
  return {{"id", token_id(t.hash)},
          {"tenant", t.tenant},
          {"tenant_name", enrolment.tenant_name(t.tenant)},
          {"uses", t.uses},
          {"used", t.used},
          {"created_at_ms", t.created_ms},
          {"expires_at_ms", t.expires_ms}};
}

}  // namespace

void AdminEnrolment::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/tenants", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { r(tenants(c.caller)); }});
  routes.push_back({"POST", "/v1/tenants", Role::kAdmin, true,
                    [this](const AdminCall& c, http::Respond r) { add_tenant(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/agents", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { add_agent(c, std::move(r)); }});
  routes.push_back({"GET", "/v1/tokens", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { r(tokens(c.caller)); }});
  routes.push_back(
      {"POST", "/v1/tokens", Role::kOperator, false,
       [this](const AdminCall& c, http::Respond r) { create_token(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/tokens/end", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { end_token(c, std::move(r)); }});
}

// --- Tenants and agents -------------------------------------------------------------------------

http::Response AdminEnrolment::tenants(const Caller& caller) const {
  std::map<uint16_t, unsigned> agents;
  for (const auto& a : control_.trust().agents()) {
    if (a.standing() && !a.revoked && caller.sees(a.address.tenant)) ++agents[a.address.tenant];
  }
  for (const auto& [id, row] : control_.enrolment().tenants()) {
    if (caller.sees(id)) agents.try_emplace(id, 0);
  }
  json out = json::array();
  for (const auto& [id, n] : agents) {
    out.push_back({{"id", id}, {"name", control_.enrolment().tenant_name(id)}, {"agents", n}});
  }
  return ok({{"tenants", out}});
}

void AdminEnrolment::add_tenant(const AdminCall& call, http::Respond respond) {
  const json& body = call.body;
  const auto name = text_of(body, "name", "the tenant's name");
  const auto id = number_of(body, "id", 1, 0xffff, 0);
  if (!name) return respond(http::error_response(name.error()));
  if (!id) return respond(http::error_response(id.error()));
  control_.enrolment().add_tenant(
      *name, *id == 0 ? std::nullopt : std::optional(static_cast<uint16_t>(*id)), call.caller.name,
      [respond](const Result<TenantRow>& r) {
        if (!r) return respond(http::error_response(r.error()));
        respond(ok({{"id", r->id}, {"name", r->name}}));
      });
}

void AdminEnrolment::add_agent(const AdminCall& call, http::Respond respond) {
  const json& body = call.body;
  const auto did = text_of(body, "did", "the agent's did:key, as sluice-agent info prints it");
  const auto name = text_of(body, "name", "the agent's name");
  const auto tenant_text = text_of(body, "tenant", "a tenant's name or number");
  for (const auto* r : {&did, &name, &tenant_text}) {
    if (!*r) return respond(http::error_response(r->error()));
  }
  const auto life_s = number_of(body, "for_s", 1, kLongestAgentS, 0);
  if (!life_s) return respond(http::error_response(life_s.error()));
  const auto identity = crypto::parse_did(*did);
  if (!identity) {
    return respond(refused(ErrorCode::kUsage,
                           "\"did\" is not the did:key of an Ed25519 key: copy "
                           "it from sluice-agent info"));
  }
  const auto tenant = control_.enrolment().tenant(*tenant_text);
  if (!tenant) return respond(http::error_response(tenant.error()));
  if (const auto may = may_touch(call.caller, *tenant); !may) {
    return respond(http::error_response(may.error()));
  }
  control_.enrolment().add_agent(*identity, *tenant, *name, *life_s * 1000, call.caller.name,
                                 [this, respond](const Result<uint32_t>& index) {
                                   if (!index) return respond(http::error_response(index.error()));
                                   const AgentEntry& a = control_.trust().agent(*index);
                                   json out = {{"did", crypto::to_did(a.identity)},
                                               {"name", a.name},
                                               {"tenant", a.address.tenant},
                                               {"address", to_string(a.address)}};
                                   if (a.ends_ms() != 0) out["expires_at_ms"] = a.ends_ms();
                                   respond(ok(out));
                                 });
}

// --- Tokens -------------------------------------------------------------------------------------

// What agents connect to, as far as the relay can know.
std::string AdminEnrolment::public_host() const {
  const auto& config = control_.config();
  if (!config.relay.public_host.empty()) return config.relay.public_host;
  for (const auto& port : config.topology.ports) {
    for (const auto& a : port.addresses) {
      char text[INET6_ADDRSTRLEN] = {};
      const bool v4 = wire::mapped_ip4(a.ip.data() + 12) == a.ip;
      inet_ntop(v4 ? AF_INET : AF_INET6, a.ip.data() + (v4 ? 12 : 0), text, sizeof text);
      return text;
    }
  }
  return {};
}

http::Response AdminEnrolment::tokens(const Caller& caller) const {
  json out = json::array();
  for (const auto& [hash, t] : control_.enrolment().tokens()) {
    if (caller.sees(t.tenant)) out.push_back(token_json(control_.enrolment(), t));
  }
  return ok({{"tokens", out}});
}

void AdminEnrolment::create_token(const AdminCall& call, http::Respond respond) {
  const json& body = call.body;
  const auto tenant_text = text_of(body, "tenant", "a tenant's name or number");
  if (!tenant_text) return respond(http::error_response(tenant_text.error()));
  const auto tenant = control_.enrolment().tenant(*tenant_text);
  if (!tenant) return respond(http::error_response(tenant.error()));
  if (const auto may = may_touch(call.caller, *tenant); !may) {
    return respond(http::error_response(may.error()));
  }
  const auto life_s = number_of(body, "ttl_s", 1, kLongestTokenS, 3600);
  const auto uses = number_of(body, "uses", 1, kMostUses, 1);
  if (!life_s) return respond(http::error_response(life_s.error()));
  if (!uses) return respond(http::error_response(uses.error()));
  std::string host = body.contains("host") && body["host"].is_string()
                         ? body["host"].get<std::string>()
                         : public_host();
  if (host.empty()) {
    return respond(refused(ErrorCode::kUsage,
                           "no address is known that agents reach this relay "
                           "at: give \"host\", or set relay.public_host"));
  }
  control_.enrolment().create_token(
      *tenant, *life_s * 1000, static_cast<uint32_t>(*uses), call.caller.name,
      [this, respond, host](Result<NewToken> r) {
        if (!r) return respond(http::error_response(r.error()));
        json out = token_json(control_.enrolment(), r->row);
        out["join"] =
            join_string(host, control_.config().relay.udp_port,
                        public_text(control_.keys().tunnel.public_key, control_.keys().id)) +
            "." + crypto::to_base64url(r->secret);
        crypto::wipe(r->secret.data(), r->secret.size());
        respond(ok(out));
      });
}

void AdminEnrolment::end_token(const AdminCall& call, http::Respond respond) {
  const json& body = call.body;
  const auto id = text_of(body, "id", "the token's id, as sluicectl token list shows it");
  if (!id) return respond(http::error_response(id.error()));
  for (const auto& [hash, t] : control_.enrolment().tokens()) {
    if (token_id(hash) != *id || !call.caller.sees(t.tenant)) continue;
    return control_.enrolment().end_token(
        Digest(hash), call.caller.name, [respond, id = *id](const Result<void>& r) {
          if (r) return respond(ok({{"id", id}, {"ended", true}}));
          respond(refused(ErrorCode::kNotDurable,
                          "the token is ended, but not on disk: after a restart it is back: " +
                              r.error().message));
        });
  }
  respond(refused(ErrorCode::kNotFound,
                  fmt::format("no token '{}' is in force: sluicectl token list shows them", *id)));
}

}  // namespace sluice::control
