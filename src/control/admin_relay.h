// The relay's own keys on the operator's API: which are in force, replacing, retiring. Control
// thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminRelay {
 public:
  explicit AdminRelay(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response keys() const;
  void replace(const AdminCall& call, http::Respond respond);
  void retire(const AdminCall& call, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
