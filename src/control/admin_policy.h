// The operator's API about the policy, and about consents across tenants. Control thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminPolicy {
 public:
  explicit AdminPolicy(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response show() const;
  void apply(const AdminCall& call, http::Respond respond);
  void consent(const AdminCall& call, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
