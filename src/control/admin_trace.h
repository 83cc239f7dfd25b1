// GET /v1/trace: what became of the calls of one trace id, joined from their records in the audit
// log and from the calls that are open now. Searched on the log's thread (trace_search.h); all else
// is the control thread's.
#pragma once

#include <memory>

#include "control/admin_route.h"
#include "control/control.h"
#include "control/trace_search.h"

namespace sluice::control {

class AdminTrace {
 public:
  explicit AdminTrace(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  struct Job;
  void trace(const AdminCall& call, http::Respond respond);
  void run(const std::shared_ptr<Job>& job);
  http::Response answer(const TraceSearch& search) const;

  Control& control_;
  unsigned running_ = 0;  // searches
};

}  // namespace sluice::control
