#include "control/admin_policy.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr size_t kShortestDigest = 8;  // hex digits

json preview_json(const PolicyPreview& p) {
  return {{"number", p.number},
          {"added", p.diff.added},
          {"removed", p.diff.removed},
          {"pairs_suspended", p.effect.suspended},
          {"pairs_resumed", p.effect.resumed},
          {"pairs_ended", p.effect.ended},
          {"pairs_changed", p.effect.changed}};
}

}  // namespace

void AdminPolicy::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/policy", Role::kAuditor, true,
                    [this](const AdminCall&, http::Respond r) { r(show()); }});
  routes.push_back({"POST", "/v1/policy", Role::kAdmin, true,
                    [this](const AdminCall& c, http::Respond r) { apply(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/requests/consent", Role::kOperator, false,
                    [this](const AdminCall& c, http::Respond r) { consent(c, std::move(r)); }});
}

http::Response AdminPolicy::show() const {
  const PolicyRow& row = control_.policies().row();
  json rules = json::array();
  for (const PolicyRule& r : control_.trust().policy().policy().rules) {
    rules.push_back(to_string(r));
  }
  return ok({{"number", row.number},
             {"applied_at_ms", row.at_ms},
             {"default", name_of(control_.trust().policy().policy().otherwise)},
             {"rules", rules},
             {"yaml", row.yaml}});
}

void AdminPolicy::apply(const AdminCall& call, http::Respond respond) {
  const auto yaml = text_of(call.body, "yaml", "the policy's text");
  if (!yaml) return respond(http::error_response(yaml.error()));
  Policies& policies = control_.policies();
  LoadedPolicy loaded = policies.parse(*yaml);
  if (!loaded.problems.empty()) {
    json problems = json::array();
    std::string text;
    for (const ConfigProblem& p : loaded.problems) {
      problems.push_back({{"line", p.line}, {"text", p.text}});
      text += fmt::format("{}line {}: {}", text.empty() ? "" : "\n", p.line, p.text);
    }
    return respond(
        {info(ErrorCode::kConfig).http_status, "application/json",
         json{
             {"error",
              {{"code", info(ErrorCode::kConfig).name}, {"message", text}, {"problems", problems}}}}
                 .dump() +
             "\n"});
  }
  const json dry_run = call.body.value("dry_run", json(false));
  if (!dry_run.is_boolean()) {
    return respond(refused(ErrorCode::kUsage, "\"dry_run\" is true or false"));
  }
  if (dry_run.get<bool>()) {
    json out = preview_json(policies.preview(loaded.policy));
    out["applied"] = false;
    return respond(ok(out));
  }
  const auto after = number_of(call.body, "after", 0, ~uint64_t{0}, policies.row().number);
  if (!after) return respond(http::error_response(after.error()));
  policies.apply(
      std::move(loaded.policy), *yaml, *after, call.caller.name,
      [respond](const Result<PolicyAnswer>& r) {
        if (!r) return respond(http::error_response(r.error()));
        json out = preview_json(r->preview);
        out["number"] = r->number;
        out["applied"] = true;
        out["sync_us"] = r->sync_us;
        out["cut_us"] = r->cut_us;
        if (r->proven) return respond(ok(out));
        out["error"] = {{"code", info(ErrorCode::kNotProven).name},
                        {"message",
                         "the policy is in force and durable, but a worker did not reach a "
                         "quiescent point within 1 s"}};
        respond({info(ErrorCode::kNotProven).http_status, "application/json", out.dump() + "\n"});
      });
}

// By the request's digest or its beginning.
void AdminPolicy::consent(const AdminCall& call, http::Respond respond) {
  const auto which = text_of(call.body, "request", "a request's digest");
  const auto tenant_text = text_of(call.body, "tenant", "the tenant that consents");
  for (const auto* r : {&which, &tenant_text}) {
    if (!*r) return respond(http::error_response(r->error()));
  }
  const auto tenant = control_.enrolment().tenant(*tenant_text);
  if (!tenant) return respond(http::error_response(tenant.error()));
  if (const auto may = may_touch(call.caller, *tenant); !may) {
    return respond(http::error_response(may.error()));
  }
  if (which->size() < kShortestDigest) {
    return respond(
        refused(ErrorCode::kUsage,
                fmt::format("give at least {} digits of the request's digest", kShortestDigest)));
  }
  const Digest* found = nullptr;
  for (const auto& [digest, w] : control_.ceremony().waiting().all()) {
    const AgentEntry* to = control_.trust().by_identity(w.row.receiver);
    const bool seen =
        call.caller.sees(w.tenant) || (to != nullptr && call.caller.sees(to->address.tenant));
    if (!seen || !crypto::to_hex(digest).starts_with(*which)) continue;
    if (found != nullptr) {
      return respond(refused(ErrorCode::kConflict,
                             fmt::format("more than one request begins with {}", *which)));
    }
    found = &digest;
  }
  if (found == nullptr) {
    return respond(
        refused(ErrorCode::kNotFound, "no such request waits: sluicectl requests shows them"));
  }
  control_.ceremony().consent(
      Digest(*found), *tenant, call.caller.name,
      [respond, digest = *found, id = *tenant](const Result<void>& r) {
        if (!r) return respond(http::error_response(r.error()));
        respond(ok({{"request", crypto::to_hex(digest)}, {"tenant", id}, {"consented", true}}));
      });
}

}  // namespace sluice::control
