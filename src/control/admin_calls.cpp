#include "control/admin_calls.h"

#include <charconv>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

std::string name_of_bit(const char* const* names, size_t count, uint8_t number) {
  return number < count ? names[number] : fmt::format("{}", number);
}

std::optional<uint32_t> parse_id(const std::string& text) {
  uint32_t out = 0;
  const auto [at, ec] = std::from_chars(text.data(), text.data() + text.size(), out, 16);
  if (ec != std::errc() || at != text.data() + text.size()) return std::nullopt;
  return out;
}

}  // namespace

void AdminCalls::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/approvals", Role::kAuditor, false,
                    [this](const AdminCall& c, http::Respond r) { r(waiting(c.caller)); }});
  routes.push_back(
      {"POST", "/v1/approvals/approve", Role::kOperator, false,
       [this](const AdminCall& c, http::Respond r) { r(decide(c, CallVerdict::kApproved)); }});
  routes.push_back(
      {"POST", "/v1/approvals/deny", Role::kOperator, false,
       [this](const AdminCall& c, http::Respond r) { r(decide(c, CallVerdict::kDenied)); }});
}

http::Response AdminCalls::waiting(const Caller& caller) const {
  json out = json::array();
  for (const auto& [id, call] : control_.approvals().waiting()) {
    const AgentEntry& from = control_.trust().agent(call.caller);
    const AgentEntry& to = control_.trust().agent(call.callee);
    if (!caller.sees(from.address.tenant) && !caller.sees(to.address.tenant)) continue;
    const wire::Envelope& e = call.envelope;
    json scopes = json::array();
    for (size_t i = 0; i < e.scope_count; ++i) {
      const uint64_t scope = e.scopes[i];
      scopes.push_back(control_.ceremony().scope_name(to.address.tenant, scope));
    }
    out.push_back({{"id", fmt::format("{:08x}", id)},
                   {"from", from.name},
                   {"from_did", crypto::to_did(from.identity)},
                   {"to", to.name},
                   {"to_did", crypto::to_did(to.identity)},
                   {"trace", crypto::to_hex(Bytes(e.trace))},
                   {"capability", name_of_bit(wire::kCapabilityNames,
                                              std::size(wire::kCapabilityNames), e.capability)},
                   {"protocol",
                    name_of_bit(wire::kProtocolNames, std::size(wire::kProtocolNames), e.protocol)},
                   {"service", uint16_t{e.service}},
                   {"scopes", scopes},
                   {"since_ms", call.since_ms},
                   {"until_ms", call.until_ms}});
  }
  return ok({{"approvals", out}});
}

// Who decides has a role where the callee is: it is what the call would act on.
http::Response AdminCalls::decide(const AdminCall& call, CallVerdict verdict) {
  const auto text = text_of(call.body, "id", "the id that GET /v1/approvals lists");
  if (!text) return http::error_response(text.error());
  const auto id = parse_id(*text);
  const auto& waiting = control_.approvals().waiting();
  const auto it = id ? waiting.find(*id) : waiting.end();
  const auto gone = [] {
    return refused(ErrorCode::kNotFound,
                   "no such call waits for an approval (any more): sluicectl approvals shows them");
  };
  if (it == waiting.end()) return gone();
  const VirtualAddress from = control_.trust().agent(it->second.caller).address;
  const VirtualAddress to = control_.trust().agent(it->second.callee).address;
  if (!call.caller.sees(from.tenant) && !call.caller.sees(to.tenant)) return gone();
  if (const auto may = may_touch(call.caller, to.tenant); !may) {
    return http::error_response(may.error());
  }
  const bool approved = verdict == CallVerdict::kApproved;
  control_.audit().approval(approved, call.caller.name, from, to, it->second.envelope);
  spdlog::warn("{} {} a call of {} to {}", call.caller.name, approved ? "approved" : "denied",
               to_string(from), to_string(to));
  (void)control_.approvals().decide(*id, verdict);
  return ok({{"id", *text}, {"decided", approved ? "approved" : "denied"}});
}

}  // namespace sluice::control
