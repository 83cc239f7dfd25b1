#include "control/admin_store.h"

#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "wire/statement.h"

namespace sluice::control {
namespace {

constexpr size_t kLongestPath = 4095;

}  // namespace

void AdminStore::add_routes(AdminRoutes& routes) {
  // It holds everybody's keys and agreements, and names a file that the relay writes.
  routes.push_back({"POST", "/v1/backup", Role::kAdmin, true,
                    [this](const AdminCall& c, http::Respond r) { backup(c, std::move(r)); }});
}

void AdminStore::backup(const AdminCall& call, http::Respond respond) {
  const auto file = text_of(call.body, "file", "a path on the relay's host that begins with /");
  if (!file) return respond(http::error_response(file.error()));
  // It is the relay, perhaps root, that makes the file: nobody else names one.
  const http::PeerCredentials& peer = call.request.peer;
  if (!peer.certificate.empty() || (peer.uid != 0 && peer.uid != geteuid())) {
    return respond(refused(ErrorCode::kPermission,
                           "backups are made by root, or the relay's own user, on its host"));
  }
  if (!file->starts_with('/') || !wire::is_plain_text(*file, kLongestPath)) {
    return respond(refused(ErrorCode::kUsage,
                           "\"file\" must be a path on the relay's host that begins with /"));
  }
  control_.store().backup(*file, [&control = control_, file = *file, who = call.caller.name,
                                  respond](const Result<Store::BackupDone>& done) {
    if (!done) return respond(http::error_response(done.error()));
    control.audit().act(audit::Act::kBackup, who);
    spdlog::info("backup of the store to {} for {}: {} bytes, up to change {}", file, who,
                 done->bytes, done->last_change);
    respond(ok({{"file", file}, {"bytes", done->bytes}, {"last_change", done->last_change}}));
  });
}

}  // namespace sluice::control
