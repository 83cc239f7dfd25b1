// Who may use the operator's API, and as what: the admin.roles of the configuration. On the Unix
// socket the kernel says which user connected; over TLS the client's certificate does. Control
// thread.
#pragma once

#include "control/admin_route.h"
#include "control/enrolment.h"

namespace sluice::control {

class AdminCallers {
 public:
  AdminCallers(const AdminConfig& config, const Enrolment& enrolment)
      : config_(config), enrolment_(enrolment) {}

  // kPermission for who has no role. root and the relay's own user are always admin.
  Result<Caller> identify(const http::PeerCredentials& peer) const;

 private:
  const AdminConfig& config_;
  const Enrolment& enrolment_;
};

}  // namespace sluice::control
