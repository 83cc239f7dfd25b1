// sluicectl credential: secrets that calls get on their way to the target, and callers never see.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/client.h"

namespace CLI {
class App;
}

namespace sluice::cli {

// What a credential consists of, as options name it; files are where secrets come from.
struct CredentialOptions {
  std::vector<std::string> headers;  // NAME: VALUE, the mark in it for the secret
  std::string query;
  std::string secret_file;
  std::string endpoint_file, webhook_file;
  std::string client_cert, client_key, authority;
  bool oauth2 = false;
  std::string token_url_file, client_id, scope, audience, auth = "basic", token_authority;
};

class CredentialCommands {
 public:
  explicit CredentialCommands(CLI::App& app);  // adds the commands; must outlive the parsing

  // The exit code of the one that was given; none: another command was.
  std::optional<int> run(const Client& client) const;

 private:
  void add_set(CLI::App& set);
  int set(const Client& client) const;
  nlohmann::json named() const;
  Result<nlohmann::json> with_limits(nlohmann::json request) const;

  CLI::App *all_, *set_, *list_, *delete_, *bind_, *unbind_;
  std::string name_, tenant_, target_, protocol_;
  CredentialOptions content_;
  std::vector<std::string> hours_, windows_;
  std::string not_before_, not_after_, max_age_;
  bool no_limits_ = false;
};

// In the form of wire/credential.h, read from where the options say.
Result<crypto::SecretBuffer> compose_credential(const CredentialOptions& options);

}  // namespace sluice::cli
