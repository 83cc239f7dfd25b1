#include "control/admin_trust.h"

#include <fnmatch.h>

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "crypto/text.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint32_t kMostChanges = 1000;

}  // namespace

void AdminTrust::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/requests", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { r(requests(c.caller)); }});
  routes.push_back({"POST", "/v1/revoke", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { revoke(c, std::move(r)); }});
  // The feed's rows do not say whose they are.
  routes.push_back({"GET", "/v1/changes", Role::kAuditor, true,
                    [this](const AdminCall& c, http::Respond r) { changes(c, std::move(r)); }});
}

http::Response AdminTrust::requests(const Caller& caller) const {
  json out = json::array();
  for (const auto& [digest, w] : control_.ceremony().waiting().all()) {
    const AgentEntry& from = control_.trust().agent(w.requester);
    const AgentEntry* to = control_.trust().by_identity(w.row.receiver);
    if (!caller.sees(w.tenant) && (to == nullptr || !caller.sees(to->address.tenant))) continue;
    out.push_back({{"request", crypto::to_hex(digest)},
                   {"from", from.name},
                   {"from_did", crypto::to_did(from.identity)},
                   {"to", to == nullptr ? json(nullptr) : json(to->name)},
                   {"to_did", crypto::to_did(w.row.receiver)},
                   {"justification", w.body.justification()},
                   {"waits_for", control_.ceremony().waits_for(w)},
                   {"from_tenant", w.tenant},
                   {"to_tenant", to == nullptr ? json(nullptr) : json(to->address.tenant)},
                   {"consents", w.consents},
                   {"received_at_ms", w.row.received_ms},
                   {"expires_at_ms", w.row.expires_ms}});
  }
  return ok({{"requests", out}});
}

// Exactly one of agent, match, tenant and pair.
Result<Cut> AdminTrust::what_to_cut(const AdminCall& call) const {
  const json& body = call.body;
  TrustTable& trust = control_.trust();
  // Of other tenants' agents a caller of one tenant learns nothing.
  const auto find = [&](const std::string& who) -> Result<uint32_t> {
    Error why;
    if (const AgentEntry* a = trust.resolve(who, &why, call.caller.tenant)) return a->index;
    return tl::unexpected(why);
  };
  Cut cut;
  const unsigned given = unsigned(body.contains("agent")) + unsigned(body.contains("match")) +
                         unsigned(body.contains("tenant")) + unsigned(body.contains("pair"));
  if (given != 1) {
    return fail(ErrorCode::kUsage,
                "the body names what to cut by one of \"agent\", \"match\", \"tenant\" and "
                "\"pair\": see docs/admin-api.md");
  }
  if (body.contains("agent")) {
    const auto who = text_of(body, "agent", "a name, DID or address");
    if (!who) return tl::unexpected(who.error());
    const auto index = find(*who);
    if (!index) return tl::unexpected(index.error());
    cut.agents = {*index};
    return cut;
  }
  if (body.contains("pair")) {
    const json& pair = body["pair"];
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return fail(ErrorCode::kUsage, "\"pair\" is a list of two agents");
    }
    auto a = find(pair[0].get<std::string>()), b = find(pair[1].get<std::string>());
    // Either side may end what takes both: the other one of a standing agreement may be anybody's.
    const auto partner = [&](const Result<uint32_t>& own, const json& other) -> Result<uint32_t> {
      const AgentEntry* found = trust.resolve(other.get<std::string>());
      if (own && found != nullptr && trust.agreement(pair_key(*own, found->index)) != nullptr) {
        return found->index;
      }
      return fail(ErrorCode::kNotFound,
                  fmt::format("no agreement with '{}' to end", other.get<std::string>()));
    };
    if (a && !b) b = partner(a, pair[1]);
    if (b && !a) a = partner(b, pair[0]);
    if (!a) return tl::unexpected(a.error());
    if (!b) return tl::unexpected(b.error());
    if (trust.agreement(pair_key(*a, *b)) == nullptr) {
      return fail(ErrorCode::kNotFound,
                  fmt::format("{} and {} have no agreement to end; a pair of the trust: section is "
                              "ended there",
                              trust.agent(*a).name, trust.agent(*b).name));
    }
    if (trust.is_configured(pair_key(*a, *b))) {
      return fail(ErrorCode::kConflict,
                  fmt::format("{} and {} are a pair of the trust: section too, so nothing would be "
                              "cut: take it out there first",
                              trust.agent(*a).name, trust.agent(*b).name));
    }
    cut.pairs.push_back({pair_key(*a, *b), 0, {}, {}, {}});
    return cut;
  }
  std::optional<uint16_t> tenant = call.caller.tenant;
  std::string pattern = "*";
  if (body.contains("tenant")) {
    const auto text = text_of(body, "tenant", "a tenant's name or number");
    if (!text) return tl::unexpected(text.error());
    const auto id = control_.enrolment().tenant(*text);
    if (!id) return tl::unexpected(id.error());
    if (const auto may = may_touch(call.caller, *id); !may) return tl::unexpected(may.error());
    tenant = *id;
  } else {
    const auto text = text_of(body, "match", "a pattern over names, such as temp-*");
    if (!text) return tl::unexpected(text.error());
    pattern = *text;
  }
  for (const auto& a : trust.agents()) {
    if (!a.standing() || a.revoked || (tenant && a.address.tenant != *tenant)) continue;
    if (fnmatch(pattern.c_str(), a.name.c_str(), 0) == 0) cut.agents.push_back(a.index);
  }
  if (cut.agents.empty()) {
    return fail(ErrorCode::kNotFound, "no active agent is meant by that: nothing was revoked");
  }
  return cut;
}

void AdminTrust::revoke(const AdminCall& call, http::Respond respond) {
  const json& body = call.body;
  const std::string& actor = call.caller.name;
  std::string reason = "revoked by the operator";
  if (body.contains("reason")) {
    if (!body["reason"].is_string()) {
      return respond(refused(ErrorCode::kUsage, "\"reason\" must be text"));
    }
    reason = body["reason"].get<std::string>();
  }
  if (!wire::is_plain_text(reason, wire::kMostReason)) {
    return respond(
        refused(ErrorCode::kUsage,
                fmt::format("the reason is one line of at most {} bytes", wire::kMostReason)));
  }
  auto cut = what_to_cut(call);
  if (!cut) return respond(http::error_response(cut.error()));
  cut->reason = reason;
  cut->actor = actor;
  spdlog::warn("{} revokes {} agents and {} pairs ({}): {}", actor, cut->agents.size(),
               cut->pairs.size(), body.dump(), reason);
  const auto done = [respond](const RevocationAnswer& a) {
    json out = {{"did", a.did},
                {"name", a.name},
                {"agents", a.agents},
                {"pairs", a.pairs},
                {"store_us", a.store_us},
                {"cut_us", a.cut_us},
                {"drained_us", a.drained_us},
                {"drained_method", "worst_case"},
                {"sync_us", a.sync_us},
                {"durable_us", a.durable_us},
                {"wipe_us", a.wipe_us},
                {"ack_us", a.ack_us},
                {"forwarded", a.forwarded},
                {"edges_closed", a.edges_closed},
                {"peers_notified", a.peers_notified},
                {"notified", a.notified}};
    const ErrorCode code =
        a.state == CutState::kNotProven ? ErrorCode::kNotProven : ErrorCode::kNotDurable;
    if (a.state == CutState::kCut) {
      out["state"] = "cut";
      return respond(ok(out));
    }
    out["state"] = info(code).name;
    out["error"] = {
        {"code", info(code).name},
        {"message", a.state == CutState::kNotProven
                        ? "traffic is cut, but it is not proven: " + a.problem
                        : "traffic is cut, but the cut will not survive a restart: " + a.problem}};
    respond({info(code).http_status, "application/json", out.dump() + "\n"});
  };
  if (!cut->pairs.empty()) {
    return control_.ceremony().revoke_pair(cut->pairs[0].pair, reason, actor, done);
  }
  control_.revocations().revoke(std::move(*cut), done);
}

void AdminTrust::changes(const AdminCall& call, http::Respond respond) {
  const auto after = query_number(call.request, "after", 0);
  const auto most = query_number(call.request, "limit", 100);
  for (const auto* r : {&after, &most}) {
    if (!*r) return respond(http::error_response(r->error()));
  }
  const uint64_t limit = std::clamp<uint64_t>(*most, 1, kMostChanges);
  control_.store().read_feed(
      *after, static_cast<uint32_t>(limit), [respond](const Result<std::vector<FeedEntry>>& r) {
        if (!r) return respond(http::error_response(r.error()));
        const auto text = [](const Buffer& b, const std::string& kind) -> json {
          if (b.empty()) return nullptr;
          if (b.size() == 2) return load_le<uint16_t>(b.data());
          if (b.size() == 8) return load_le<uint64_t>(b.data());
          const bool digest = kind.starts_with("token") || kind.starts_with("request_") ||
                              kind == "request_consented" || kind == "pair_ended" ||
                              kind == "pair_revoked" || kind == "audit_log_forgotten";
          if (kind.starts_with("relay_key")) return crypto::to_base64url(b);
          return b.size() == 32 && !digest ? crypto::to_did(take<32>(b.data())) : crypto::to_hex(b);
        };
        json out = json::array();
        for (const FeedEntry& e : *r) {
          json subject = text(e.subject, e.kind);
          if (e.kind.starts_with("token")) subject = subject.get<std::string>().substr(0, 12);
          const bool named = e.kind == "credential_set" || e.kind == "credential_deleted";
          out.push_back({{"sequence", e.sequence},
                         {"at_ms", e.at_ms},
                         {"actor", e.actor},
                         {"kind", e.kind},
                         {"subject", subject},
                         {"object", named ? json(as_text(e.object))
                                          : text(e.object, e.kind.starts_with("relay_key") ||
                                                                   e.kind.starts_with("audit")
                                                               ? e.kind
                                                               : "")}});
        }
        respond(ok({{"changes", out}}));
      });
}

}  // namespace sluice::control
