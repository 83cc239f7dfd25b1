// One call of the operator's API: who calls, what they may, and what answers (docs/admin-api.md).
// Control thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "control/config.h"
#include "crypto/secret_buffer.h"
#include "http/message.h"

namespace sluice::control {

// Who called, as the configuration knows them.
struct Caller {
  std::string name;  // as the feed of changes names it: "uid 1000", "certificate ops"
  Role role = Role::kAuditor;
  std::optional<uint16_t> tenant;  // none: all of them

  bool sees(uint16_t other) const { return !tenant || *tenant == other; }
};

struct AdminCall {
  const http::Request& request;
  const nlohmann::json& body;  // an object, empty for a GET; beside a secret, the query's `about`
  const Caller& caller;
  std::shared_ptr<crypto::SecretBuffer> secret = {};  // null: the body is none
};

struct AdminRoute {
  const char* method;
  const char* path;
  Role least;
  bool global;  // not for callers of one tenant
  std::function<void(const AdminCall&, http::Respond)> handle;
};
using AdminRoutes = std::vector<AdminRoute>;

http::Response ok(const nlohmann::json& body);
http::Response refused(ErrorCode code, std::string text);

// A text of the body; an error names the key and what belongs there.
Result<std::string> text_of(const nlohmann::json& body, const char* key, const char* what);
Result<uint64_t> number_of(const nlohmann::json& body, const char* key, uint64_t least,
                           uint64_t most, uint64_t otherwise);
// The same of the query.
Result<uint64_t> query_number(const http::Request& request, const char* key, uint64_t otherwise);
// kPermission where the caller is of another tenant.
Result<void> may_touch(const Caller& caller, uint16_t tenant);

}  // namespace sluice::control
