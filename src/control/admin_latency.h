// GET /v1/latency: how long forwarded packets were in the relay, by worker and by the sender's
// tenant, as quantiles out of the whole histograms. Control thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminLatency {
 public:
  explicit AdminLatency(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response latency(const Caller& caller) const;

  Control& control_;
};

}  // namespace sluice::control
