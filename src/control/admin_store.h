// The operator's API about the store itself. Control thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminStore {
 public:
  explicit AdminStore(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  void backup(const AdminCall& call, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
