// sluicectl backup and restore: copies of what the relay must not forget.
#pragma once

#include <string>

#include "cli/client.h"

namespace sluice::cli {

// By the running relay, which goes on meanwhile. The exit code.
int run_backup(const Client& client, const std::string& file);

struct RestoreOptions {
  std::string file;
  std::string state_dir = "/var/lib/sluice";
  std::string audit;    // its log's folder; empty: audit in state_dir
  bool forget = false;  // changes that were made after the backup
};

// Where no relay runs. The exit code.
int run_restore(const Client& client, const RestoreOptions& options);

}  // namespace sluice::cli
