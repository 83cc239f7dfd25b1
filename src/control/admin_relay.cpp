#include "control/admin_relay.h"

#include <nlohmann/json.hpp>

#include "crypto/text.h"

namespace sluice::control {
namespace {

using nlohmann::json;

constexpr uint64_t kDefaultOverlapS = 30ull * 24 * 3600;

}  // namespace

void AdminRelay::add_routes(AdminRoutes& routes) {
  routes.push_back({"GET", "/v1/relay/keys", Role::kAuditor, false,
                    [this](const AdminCall&, http::Respond r) { r(keys()); }});
  routes.push_back({"POST", "/v1/relay/keys", Role::kAdmin, true,
                    [this](const AdminCall& c, http::Respond r) { replace(c, std::move(r)); }});
  routes.push_back({"POST", "/v1/relay/keys/retire", Role::kAdmin, true,
                    [this](const AdminCall& c, http::Respond r) { retire(c, std::move(r)); }});
}

http::Response AdminRelay::keys() const {
  const RelayKeys& keys = control_.keys();
  json previous;
  if (keys.previous) {
    previous = {{"key", crypto::to_base64url(keys.previous->pair.public_key)},
                {"until_ms", keys.previous->until_ms}};
  }
  return ok({{"id", crypto::to_base64url(keys.id)},
             {"key", crypto::to_base64url(keys.tunnel.public_key)},
             {"number", keys.change ? keys.change->number : 0},
             {"told_at_ms", keys.change ? json(keys.change->told_ms) : json()},
             {"previous", previous}});
}

void AdminRelay::replace(const AdminCall& call, http::Respond respond) {
  const auto overlap = number_of(call.body, "overlap_s", 0, RelayKeyring::kLongestOverlapMs / 1000,
                                 kDefaultOverlapS);
  if (!overlap) return respond(http::error_response(overlap.error()));
  control_.keyring().replace(*overlap * 1000, call.caller.name,
                             [this, respond](const Result<void>& r) {
                               respond(r ? keys() : http::error_response(r.error()));
                             });
}

void AdminRelay::retire(const AdminCall& call, http::Respond respond) {
  control_.keyring().retire(call.caller.name, [this, respond](const Result<void>& r) {
    respond(r ? keys() : http::error_response(r.error()));
  });
}

}  // namespace sluice::control
