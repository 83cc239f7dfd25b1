// The operator's API about the vault itself: its keys and whether it is open. Control thread.
#pragma once

#include "control/admin_route.h"
#include "control/control.h"

namespace sluice::control {

class AdminVault {
 public:
  explicit AdminVault(Control& control) : control_(control) {}
  void add_routes(AdminRoutes& routes);

 private:
  http::Response show() const;
  void turn(const AdminCall& call, http::Respond respond,
            void (Vault::*how)(Vault::Passphrase, const std::string&, Vault::Done));
  void rotate(const AdminCall& call, http::Respond respond);

  Control& control_;
};

}  // namespace sluice::control
