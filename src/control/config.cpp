#include "control/config.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include <fmt/format.h>

#include "base/file.h"
#include "config_manual.h"
#include "control/config_parts.h"
#include "crypto/text.h"
#include "crypto/x25519.h"

namespace sluice::control {
namespace {

// A million agents, which limits.agents allows, take 400 bytes each.
constexpr size_t kLargestFile = 512u << 20;

std::string too_large() {
  return fmt::format(
      "is larger than {} MiB; it should list ports, cores and trusted agents, "
      "nothing else",
      kLargestFile >> 20);
}

using RelayKey = std::optional<ByteArray<32>>;

// `relay_key` is asked once the file's relay.key_file is known.
LoadedConfig read_config(std::string_view yaml,
                         const std::function<RelayKey(const std::string&)>& relay_key,
                         std::vector<KeyRule>* rules = nullptr) {
  LoadedConfig out;
  Problems problems(rules);
  if (yaml.size() > kLargestFile) {
    problems.add(0, "the file " + too_large());
  } else if (const auto tree = read_yaml(yaml, problems)) {
    const Section root(
        problems, &*tree, "",
        {"log", "eal", "ports", "cores", "worker", "control", "relay", "handshake", "limits",
         "calls", "admin", "audit", "observability", "metrics", "vault", "trust"});
    Config& c = out.config;
    read_eal(root, c.topology);
    read_ports(root, c.topology);
    read_cores(root, c.topology);
    read_services(root, c);
    read_admin(root, c.admin);
    read_observability(root, c.observability);
    read_vault(root, c.vault);
    read_trust(root, relay_key(c.relay.key_file), c.limits, c.trust);
  }
  if (out.config.relay.key_file.empty()) {
    out.config.relay.key_file = out.config.relay.state_dir + "/relay.key";
  }
  if (out.config.vault.key_file.empty()) {
    out.config.vault.key_file = out.config.relay.state_dir + "/vault.key";
  }
  if (out.config.vault.tpm.auth_file.empty()) {
    out.config.vault.tpm.auth_file = out.config.relay.state_dir + "/vault.auth";
  }
  out.problems = problems.take_sorted();
  return out;
}

// The public half of a relay key file. None while there is no key yet, or for a user who may not
// read it: whoever starts the relay reports what is wrong with the file.
RelayKey public_relay_key(const std::string& path) {
  auto text = read_secret_file(path, 4096);
  if (!text) return std::nullopt;
  std::string_view line = *text;
  if (line.ends_with('\n')) line.remove_suffix(1);
  auto raw = crypto::from_base64(line);
  crypto::wipe(text->data(), text->size());
  if (!raw) return std::nullopt;
  RelayKey out;
  if (raw->size() == 32) {
    crypto::Key256 secret;
    std::memcpy(secret.data(), raw->data(), 32);
    out = crypto::X25519KeyPair::from_secret(secret).public_key;
  }
  crypto::wipe(raw->data(), raw->size());
  return out;
}

// Before the file is opened, because opening a pipe would wait for its writer, and reading half a
// gigabyte takes a second.
std::string not_a_file(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) {
    const int e = errno;
    return fmt::format("cannot open the configuration: {}; check the path and its permissions",
                       std::strerror(e));
  }
  if (S_ISDIR(st.st_mode)) return "is a directory; name the YAML file in it";
  if (!S_ISREG(st.st_mode)) return "is not a regular file; write the configuration to one";
  if (size_t(st.st_size) > kLargestFile) return too_large();
  return {};
}

}  // namespace

LoadedConfig parse_config(std::string_view yaml, std::optional<ByteArray<32>> relay_key) {
  return read_config(yaml, [&](const std::string&) { return relay_key; });
}

LoadedConfig load_config(const std::string& path) {
  const auto refuse = [](std::string why) {
    LoadedConfig out = read_config("", public_relay_key);
    out.problems.assign(1, {0, std::move(why)});
    return out;
  };
  if (auto why = not_a_file(path); !why.empty()) return refuse(std::move(why));
  const auto text = read_file(path, kLargestFile);
  if (!text) return refuse(text.error().message);
  return read_config(*text, public_relay_key);
}

std::vector<KeyRule> key_rules() {
  std::vector<KeyRule> out;
  (void)read_config(
      config_manual(), [](const std::string&) { return RelayKey(); }, &out);
  return out;
}

std::string_view config_manual() {
  return kManual;
}

}  // namespace sluice::control
