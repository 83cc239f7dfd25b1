// GET /v1/events: what happens now (events.h), after a number that the caller has seen, waited for
// if it likes. Control thread.
#pragma once

#include <memory>

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminEvents {
 public:
  explicit AdminEvents(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  struct Watcher;
  void events(const AdminCall& call, http::Respond respond);
  void look(const std::shared_ptr<Watcher>& watcher);

  Control& control_;
};

}  // namespace sluice::control
