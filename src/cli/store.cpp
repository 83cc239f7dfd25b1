#include "cli/store.h"

#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

#include "cli/views.h"
#include "control/store_restore.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

// Of a store with a million agreements it is half a gigabyte.
constexpr std::chrono::seconds kLongestBackup{600};

}  // namespace

int run_backup(const Client& client, const std::string& file) {
  std::error_code ec;
  const std::string path = std::filesystem::absolute(file, ec).string();
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "writing {} …\n", path);
  const auto body = client.call("POST", "/v1/backup", json{{"file", path}}.dump(), kLongestBackup);
  if (!body) return client.report(body.error());
  if (client.as_json) {
    fmt::print("{}\n", body->dump());
  } else {
    fmt::print("{}: {}, up to change {}; the relay's keys are not in it\n", text((*body)["file"]),
               bytes((*body)["bytes"]), text((*body)["last_change"]));
  }
  return 0;
}

int run_restore(const Client& client, const RestoreOptions& o) {
  if (isatty(STDERR_FILENO)) fmt::print(stderr, "checking {} …\n", o.file);
  const auto done = control::restore_store(
      o.file, o.state_dir, o.audit.empty() ? o.state_dir + "/audit" : o.audit, o.forget);
  if (!done) return client.report(done.error());
  if (client.as_json) {
    fmt::print("{}\n",
               json{{"state_dir", o.state_dir},
                    {"last_change", done->changes},
                    {"agents", done->agents},
                    {"revoked", done->revoked},
                    {"replaced", done->replaced.empty() ? json() : json(done->replaced)},
                    {"forked", done->forked},
                    {"damage", done->damage.empty() ? json() : json(done->damage)},
                    {"forgotten_keys", done->forgotten_keys},
                    {"missing_key", done->missing_key.empty() ? json() : json(done->missing_key)},
                    {"audited_changes", done->audited},
                    {"forgotten_changes", done->forgotten_changes},
                    {"forgotten_revocations", done->forgotten_revocations}}
                   .dump());
    return 0;
  }
  fmt::print("{}: restored up to change {}, with {} agents and {} revocations\n", o.state_dir,
             done->changes, done->agents, done->revoked);
  if (done->forgotten_changes > 0) {
    fmt::print("forgotten: {} later changes, {} of them revocations\n", done->forgotten_changes,
               done->forgotten_revocations);
    if (done->forgotten_keys > 0) {
      fmt::print(
          "{} were changes of keys: agents that rotated their identity have to enrol anew, and\n"
          "agents that met a later key of the relay need sluice-agent rejoin --older-key\n",
          done->forgotten_keys);
    }
  }
  if (!done->damage.empty()) fmt::print("what stood there was unreadable: {}\n", done->damage);
  if (!done->replaced.empty()) fmt::print("it is kept as {}\n", done->replaced);
  if (!done->missing_key.empty()) {
    fmt::print(stderr, "sluicectl: the relay does not start before its key is there: {}\n",
               done->missing_key);
  }
  return 0;
}

}  // namespace sluice::cli
