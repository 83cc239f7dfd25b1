// What trust rests on.
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "cli/doctor.h"
#include "cli/table.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using control::Config;
using nlohmann::json;

std::string mode_text(mode_t mode) {
  return fmt::format("{:04o}", mode & 07777);
}

// Nobody but root and the state folder's owner may have it, or read or write it.
class Secrets {
 public:
  Secrets(const std::string& folder, Findings& out) : out_(out) {
    struct stat s {};
    if (stat(folder.c_str(), &s) == 0) owner_ = s.st_uid;
  }

  void look_at(const std::string& what, const std::string& path, mode_t most) {
    struct stat s {};
    if (lstat(path.c_str(), &s) != 0) {
      // Root sees everything: who is not, is not told.
      const bool hidden = errno == EACCES;
      out_.push_back({"modes", Grade::kWarning,
                      fmt::format("{} {}: {}", what, path, std::strerror(errno)),
                      hidden ? "look again as root" : "is it named rightly in the configuration?"});
      return;
    }
    const bool tight = (s.st_mode & 07777 & ~most) == 0;
    const bool ours = s.st_uid == 0 || s.st_uid == owner_;
    std::string remedy = tight ? "" : fmt::format("chmod {} {}", mode_text(most), path);
    if (!ours) remedy += fmt::format("{}chown {} {}", tight ? "" : "; ", owner_, path);
    out_.push_back({"modes", tight && ours ? Grade::kOk : Grade::kFailed,
                    fmt::format("{} {} has mode {}{}", what, path, mode_text(s.st_mode),
                                ours ? "" : fmt::format(" and belongs to uid {}", s.st_uid)),
                    remedy});
  }

 private:
  Findings& out_;
  uid_t owner_ = 0;
};

void look_at_modes(const Config& c, Findings& out) {
  Secrets secrets(c.relay.state_dir, out);
  secrets.look_at("state", c.relay.state_dir, 0700);
  secrets.look_at("the relay's key", c.relay.key_file, 0600);
  // It is made with the vault.
  if (struct stat s{};
      c.vault.source == vault::KeySource::kFile && lstat(c.vault.key_file.c_str(), &s) == 0) {
    secrets.look_at("the vault's key", c.vault.key_file, 0600);
  }
  if (!c.admin.tls.key.empty()) secrets.look_at("the admin API's key", c.admin.tls.key, 0600);
}

void look_at_callers(const Config& c, Findings& out) {
  const std::string by_group =
      c.admin.group.empty() ? "root alone" : fmt::format("members of group {}", c.admin.group);
  if (c.admin.roles.empty()) {
    out.push_back({"callers", Grade::kWarning,
                   fmt::format("whoever may open the socket is admin: {}", by_group),
                   "name them in admin.roles, each with the least role that serves"});
  } else {
    out.push_back({"callers", Grade::kOk,
                   fmt::format("{} roles; the socket is for {}", c.admin.roles.size(), by_group),
                   ""});
  }
  if (c.observability.metrics_port != 0 && !c.observability.metrics_address.starts_with("127.") &&
      c.observability.metrics_address != "::1") {
    out.push_back(
        {"callers", Grade::kWarning,
         fmt::format("anybody who reaches {}:{} reads the metrics, names of tenants among "
                     "them",
                     c.observability.metrics_address, c.observability.metrics_port),
         "a firewall, or 127.0.0.1 and a scraper on this host"});
  }
}

void look_at_choices(const Config& c, Findings& out) {
  if (c.when_stale == control::WhenStale::kForward) {
    out.push_back({"choices", Grade::kWarning,
                   "control.when_stale: forward goes on while revocations cannot arrive",
                   "refuse, unless going on matters more"});
  }
  if (c.audit.when_unavailable == control::WhenUnavailable::kCount) {
    out.push_back({"choices", Grade::kWarning,
                   "audit.when_unavailable: count lets calls through that no record tells of",
                   "deny, unless going on matters more"});
  }
}

void look_at_policy(const Client& client, Findings& out) {
  const auto policy = ask(client, "/v1/policy", "policy", out);
  if (!policy) return;
  const bool open = (*policy)["default"] == "approve";
  out.push_back({"policy", open ? Grade::kWarning : Grade::kOk,
                 fmt::format("{} rules; what none of them names: {}", (*policy)["rules"].size(),
                             text((*policy)["default"])),
                 open ? "strangers are connected unasked: sluicectl policy apply" : ""});
}

void look_at_keys(const Client& client, Findings& out) {
  const auto keys = ask(client, "/v1/relay/keys", "keys", out);
  if (keys) {
    const json& previous = (*keys)["previous"];
    out.push_back(
        {"keys", previous.is_null() ? Grade::kOk : Grade::kWarning,
         previous.is_null() ? fmt::format("the relay answers to one key, its {}.",
                                          (*keys)["number"].get<uint64_t>())
                            : fmt::format("the old key is still answered, for another {}",
                                          remaining(previous["until_ms"])),
         previous.is_null() ? "" : "if it was lost to somebody: sluicectl relay retire-key"});
  }
  const auto vault = ask(client, "/v1/vault", "keys", out);
  if (!vault) return;
  size_t in_use = 0;
  for (const json& key : (*vault)["data_keys"]) in_use += key["records"] != 0 ? 1 : 0;
  if (in_use > 1) {
    out.push_back({"keys", Grade::kWarning,
                   fmt::format("credentials are sealed with {} data keys", in_use),
                   "an old one is still needed: sluicectl vault rotate seals all anew"});
  }
}

void look_at_revocations(const Client& client, Findings& out) {
  const auto agents = ask(client, "/v1/agents", "revoked", out);
  const auto edges = ask(client, "/v1/edges", "revoked", out);
  if (!agents || !edges) return;
  size_t revoked = 0;
  std::set<std::string> gone;
  std::string connected;
  for (const json& a : (*agents)["agents"]) {
    if (a["state"] != "revoked") continue;
    ++revoked;
    gone.insert(text(a["did"]));
    if (!a["session"].is_null()) connected += (connected.empty() ? "" : ", ") + text(a["name"]);
  }
  size_t open = 0;
  for (const json& e : (*edges)["edges"]) {
    const bool theirs = gone.contains(text(e["from_did"])) || gone.contains(text(e["to_did"]));
    open += theirs && e["open"].get<bool>() ? 1 : 0;
  }
  if (!connected.empty() || open != 0) {
    out.push_back(
        {"revoked", Grade::kFailed,
         fmt::format("revoked, but {}{}", connected.empty() ? "" : "connected: " + connected + "; ",
                     fmt::format("{} edges of theirs are open", open)),
         "this must not happen: stop the relay, keep its state and the audit log"});
    return;
  }
  out.push_back({"revoked", Grade::kOk,
                 fmt::format("{} agents, none connected, no edge of theirs open", revoked), ""});
}

void look_at_denials(const Client& client, Findings& out) {
  const auto counters = ask(client, "/v1/counters", "denials", out);
  const auto audit = ask(client, "/v1/audit", "denials", out);
  if (!counters || !audit) return;
  uint64_t denied = 0;
  for (const auto& [reason, n] : (*counters)["calls"].items()) {
    if (reason != "authorized") denied += n.get<uint64_t>();
  }
  const uint64_t lost = (*audit)["lost"].get<uint64_t>();
  const bool all = (*audit)["available"].get<bool>() && lost == 0;
  out.push_back(
      {"denials", all ? Grade::kOk : Grade::kFailed,
       all ? fmt::format("{} calls denied since the start; the log takes decisions, and lost none",
                         grouped(denied))
           : fmt::format("decisions are missing in the log: {} lost", grouped(lost)),
       all ? "" : "sluicectl audit status"});
}

}  // namespace

void examine_security(const Client& client, const json* status, const Config* c, Findings& out) {
  if (status != nullptr) {
    out.push_back({"ciphers", Grade::kOk,
                   fmt::format("X25519, Ed25519 and AES-256-GCM ({}); nothing else is spoken",
                               text((*status)["aead"]["path"])),
                   ""});
    look_at_keys(client, out);
    look_at_revocations(client, out);
    look_at_denials(client, out);
    look_at_policy(client, out);
  }
  if (c == nullptr) return;
  if (c->admin.tls.port != 0) {
    out.push_back({"ciphers", Grade::kOk,
                   "the admin API takes TLS 1.3 alone, from who shows a certificate", ""});
  }
  look_at_callers(*c, out);
  look_at_choices(*c, out);
  if (client.url.empty()) look_at_modes(*c, out);
}

}  // namespace sluice::cli
