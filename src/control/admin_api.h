// The operator's API: HTTP+JSON on a Unix socket that only root and one group may open. Routes and
// shapes are documented in docs/admin-api.md. Runs on the control thread.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "control/admin_audit.h"
#include "control/admin_callers.h"
#include "control/admin_calls.h"
#include "control/admin_credentials.h"
#include "control/admin_enrolment.h"
#include "control/admin_events.h"
#include "control/admin_latency.h"
#include "control/admin_metrics.h"
#include "control/admin_policy.h"
#include "control/admin_relay.h"
#include "control/admin_store.h"
#include "control/admin_trace.h"
#include "control/admin_trust.h"
#include "control/admin_vault.h"
#include "http/message.h"

namespace sluice::control {

class AdminApi {
 public:
  explicit AdminApi(Control& control);
  AdminApi(const AdminApi&) = delete;
  AdminApi& operator=(const AdminApi&) = delete;
  void handle(http::Request request, http::Respond respond);
  // What comes over the port of metrics:, from anybody.
  void metrics(const http::Request& request, http::Respond respond) {
    metrics_.answer(request, std::move(respond));
  }
  // What docs/openapi.json describes.
  const AdminRoutes& routes() const { return routes_; }

 private:
  http::Response status();
  http::Response agents(const Caller& caller);
  http::Response edges(const Caller& caller);
  http::Response counters();
  nlohmann::json calls_json(const EdgeEntry& edge) const;

  Control& control_;
  AdminCallers callers_;
  AdminEnrolment enrolment_;
  AdminTrust trust_;
  AdminPolicy policy_;
  AdminStore store_;
  AdminRelay relay_;
  AdminAudit audit_;
  AdminCalls calls_;
  AdminMetrics metrics_;
  AdminLatency latency_;
  AdminTrace trace_;
  AdminEvents events_;
  AdminVault vault_;
  AdminCredentials credentials_;
  AdminRoutes routes_;
};

}  // namespace sluice::control
