// Calls in the operator's API: those that wait for an approval. Control thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminCalls {
 public:
  explicit AdminCalls(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response waiting(const Caller& caller) const;
  http::Response decide(const AdminCall& call, CallVerdict verdict);

  Control& control_;
};

}  // namespace sluice::control
