// The operator's API: HTTP+JSON on a Unix socket that only root and one group may open. Routes and
// shapes are documented in docs/admin-api.md. Runs on the control thread.
#pragma once

#include "control/control.h"
#include "http/message.h"

namespace sluice::control {

class AdminApi {
 public:
  explicit AdminApi(Control& control) : control_(control) {}
  void handle(http::Request request, http::Respond respond);

 private:
  http::Response status();
  http::Response agents();
  http::Response edges();
  http::Response counters();
  void revoke(const http::Request& request, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
