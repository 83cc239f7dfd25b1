// The operator's API about who is here: tenants, agents that are added, enrolment tokens. Control
// thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminEnrolment {
 public:
  explicit AdminEnrolment(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response tenants(const Caller& caller) const;
  http::Response tokens(const Caller& caller) const;
  void add_tenant(const AdminCall& call, http::Respond respond);
  void add_agent(const AdminCall& call, http::Respond respond);
  void create_token(const AdminCall& call, http::Respond respond);
  void end_token(const AdminCall& call, http::Respond respond);
  std::string public_host() const;

  Control& control_;
};

}  // namespace sluice::control
