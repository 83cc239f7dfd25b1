#include "control/admin_callers.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>

#include <fmt/format.h>

#include "wire/statement.h"

namespace sluice::control {
namespace {

// The user's name, or its number where it has none.
std::string user_name(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  char room[4096];
  if (getpwuid_r(uid, &entry, room, sizeof room, &found) == 0 && found != nullptr) {
    return found->pw_name;
  }
  return std::to_string(uid);
}

}  // namespace

Result<Caller> AdminCallers::identify(const http::PeerCredentials& peer) const {
  const bool certified = !peer.certificate.empty();
  // It comes into messages and the feed; and no entry of admin.roles could be equal to it.
  if (certified && !wire::is_plain_text(peer.certificate, kLongestCaller)) {
    return fail(ErrorCode::kPermission, "the certificate's common name is not plain text");
  }
  Caller out{certified ? "certificate " + peer.certificate : fmt::format("uid {}", peer.uid),
             Role::kAdmin,
             {}};
  if (!certified && (peer.uid == 0 || peer.uid == geteuid())) return out;
  // Without roles whoever may open the socket is trusted with all of it.
  if (config_.roles.empty() && !certified) return out;
  const std::string user = certified ? std::string() : user_name(peer.uid);
  const auto mine = [&](const AdminRole& r) {
    return certified ? r.certificate == peer.certificate
                     : !r.user.empty() && (r.user == user || r.user == std::to_string(peer.uid));
  };
  const auto it = std::find_if(config_.roles.begin(), config_.roles.end(), mine);
  if (it == config_.roles.end()) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} has no role here: admin.roles of the relay's configuration names "
                            "who has",
                            out.name));
  }
  out.role = it->role;
  if (it->tenant.empty()) return out;
  const auto tenant = enrolment_.tenant(it->tenant);
  if (!tenant) return tl::unexpected(tenant.error());
  out.tenant = *tenant;
  return out;
}

}  // namespace sluice::control
