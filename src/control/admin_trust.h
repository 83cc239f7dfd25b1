// The operator's API about who trusts whom: requests that wait, revocation, and the feed of all
// changes. Control thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminTrust {
 public:
  explicit AdminTrust(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response requests(const Caller& caller) const;
  void revoke(const AdminCall& call, http::Respond respond);
  void changes(const AdminCall& call, http::Respond respond);
  Result<Cut> what_to_cut(const AdminCall& call) const;

  Control& control_;
};

}  // namespace sluice::control
