#include "cli/vault.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "cli/secret_input.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr size_t kMostPassphrase = 1024;
// Argon2id and a TPM may take their time.
constexpr std::chrono::seconds kLongestTurn{120};

std::string vault_text(const json& b) {
  std::string out = "the vault is " + text(b["state"]);
  if (b["unlocking"].get<bool>()) out += ", and being unlocked";
  if (!b["why"].is_null()) out += ": " + text(b["why"]);
  if (b["master"].is_null()) {
    return out + fmt::format("; sluicectl vault init makes its master key (source: {})",
                             text(b["source"]));
  }
  out += fmt::format("\nmaster key {} ({}), {} data {}, {} credentials, {} bindings",
                     text(b["master"]["number"]), text(b["master"]["source"]),
                     b["data_keys"].size(), b["data_keys"].size() == 1 ? "key" : "keys",
                     text(b["credentials"]), text(b["bindings"]));
  if (b["damaged"] != 0) out += fmt::format("\nDAMAGED: {} records", text(b["damaged"]));
  if (b["master"]["source"] != b["source"]) {
    out += fmt::format("\nthe configuration says {}: sluicectl vault rotate --master moves there",
                       text(b["source"]));
  }
  return out;
}

}  // namespace

VaultCommands::VaultCommands(CLI::App& app) {
  all_ = app.add_subcommand("vault", "The keys that credentials are sealed with");
  all_->require_subcommand(1);
  init_ = all_->add_subcommand("init", "Make the master key, where vault.source says, once");
  unlock_ = all_->add_subcommand("unlock", "Open the vault, with its passphrase where it has one");
  lock_ = all_->add_subcommand("lock", "Forget its keys: calls that need a credential are denied");
  lock_->footer("With a file or a TPM it opens by itself at the relay's next start.");
  status_ = all_->add_subcommand("status", "Whether it is open, or why not");
  rotate_ = all_->add_subcommand(
      "rotate", "A new data key, and every record sealed anew; calls go on meanwhile");
  rotate_->add_flag("--master", master_,
                    "A new master key in its place, where vault.source says now");
  for (auto* of : {init_, unlock_, rotate_}) {
    of->add_option("--passphrase-file", file_,
                   "The passphrase, where there is one (default: asked for, or standard input)")
        ->type_name("FILE");
  }
  rotate_->footer("Example:  sluicectl vault rotate --master");
}

// Empty where none is needed.
Result<crypto::SecretBuffer> VaultCommands::passphrase(const Client& client, bool fresh) const {
  const auto vault = client.call("GET", "/v1/vault");
  if (!vault) return tl::unexpected(vault.error());
  const json& master = (*vault)["master"];
  const json source = fresh || master.is_null() ? (*vault)["source"] : master["source"];
  if (source != "passphrase") return crypto::SecretBuffer();
  return file_.empty() ? secret_from_input("Passphrase", kMostPassphrase, fresh)
                       : secret_from_file(file_, kMostPassphrase);
}

int VaultCommands::turn(const Client& client, const char* target, bool fresh) const {
  const auto secret = passphrase(client, fresh);
  if (!secret) return client.report(secret.error());
  return client.change_with(target, json::object(), *secret, vault_text, kLongestTurn);
}

int VaultCommands::rotate(const Client& client) const {
  const auto said = [](const json& b) {
    return b["rotated"] == "master" ? fmt::format("the vault has master key {}", text(b["key"]))
                                    : fmt::format("records are sealed with data key {}: {} anew",
                                                  text(b["key"]), text(b["records"]));
  };
  const json request = {{"master", master_}};
  if (!master_) {
    return client.change_with("/v1/vault/rotate", request, {}, said, kLongestTurn);
  }
  const auto secret = passphrase(client, true);
  if (!secret) return client.report(secret.error());
  return client.change_with("/v1/vault/rotate", request, *secret, said, kLongestTurn);
}

std::optional<int> VaultCommands::run(const Client& client) const {
  if (!all_->parsed()) return std::nullopt;
  if (status_->parsed()) {
    return client.show("/v1/vault", [](const json& b) { fmt::print("{}\n", vault_text(b)); });
  }
  if (init_->parsed()) return turn(client, "/v1/vault/init", true);
  if (unlock_->parsed()) return turn(client, "/v1/vault/unlock", false);
  if (lock_->parsed()) return client.change("/v1/vault/lock", json::object(), vault_text);
  return rotate(client);
}

}  // namespace sluice::cli
