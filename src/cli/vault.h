// sluicectl vault: the keys that credentials are sealed with.
#pragma once

#include <optional>
#include <string>

#include "cli/client.h"

namespace CLI {
class App;
}

namespace sluice::cli {

class VaultCommands {
 public:
  explicit VaultCommands(CLI::App& app);  // adds the commands; must outlive the parsing

  // The exit code of the one that was given; none: another command was.
  std::optional<int> run(const Client& client) const;

 private:
  int turn(const Client& client, const char* target, bool fresh) const;
  int rotate(const Client& client) const;
  Result<crypto::SecretBuffer> passphrase(const Client& client, bool fresh) const;

  CLI::App *all_, *init_, *unlock_, *lock_, *status_, *rotate_;
  std::string file_;
  bool master_ = false;
};

}  // namespace sluice::cli
