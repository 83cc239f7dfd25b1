// The operator's API about credentials: they go in and are not seen again. Control thread.
#pragma once

#include <map>

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminCredentials {
 public:
  explicit AdminCredentials(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response list(const Caller& caller) const;
  // By credential.
  using Bound = std::multimap<uint64_t, const BindingRow*>;
  Bound bound() const;
  nlohmann::json credential_json(const CredentialRow& row, const Bound& bound) const;
  // What of a request's body names; kNotFound, kPermission, kUsage.
  Result<uint16_t> tenant(const AdminCall& call) const;
  Result<uint64_t> credential(const AdminCall& call) const;
  Result<CredentialPlace> place(const AdminCall& call) const;
  void set(const AdminCall& call, http::Respond respond);
  void remove(const AdminCall& call, http::Respond respond);
  void bind(const AdminCall& call, http::Respond respond);
  void unbind(const AdminCall& call, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
