// The operator's API over the audit log: how it stands, its records as JSON, and the published
// files as they are, for whoever verifies them elsewhere. Files are read on the log's own thread;
// all else is the control thread's.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminAudit {
 public:
  explicit AdminAudit(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response status() const;
  void records(const AdminCall& call, http::Respond respond);
  void file(const AdminCall& call, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
