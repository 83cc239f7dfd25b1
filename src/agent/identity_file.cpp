#include "agent/identity_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/edges.h"
#include "base/file.h"
#include "control.pb.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

std::optional<Buffer> bytes_at(const json& doc, const char* key, size_t size) {
  const auto it = doc.find(key);
  if (it == doc.end() || !it->is_string()) return std::nullopt;
  auto bytes = crypto::from_base64(it->get_ref<const std::string&>());
  return bytes && bytes->size() == size ? bytes : std::nullopt;
}

std::optional<crypto::Key256> secret_at(const json& doc, const char* key) {
  auto bytes = bytes_at(doc, key, 32);
  if (!bytes) return std::nullopt;
  crypto::Key256 out(take<32>(bytes->data()));
  crypto::wipe(bytes->data(), bytes->size());
  return out;
}

std::string to_text(const AgentIdentity& id) {
  const auto seed = id.identity.seed();
  const json doc = {{"version", 1},
                    {"name", id.name},
                    {"tenant", id.tenant},
                    {"created_ms", id.created_ms},
                    {"identity_seed", crypto::to_base64(seed.view())},
                    {"e2e_secret", crypto::to_base64(id.e2e_key.secret.view())},
                    {"relay_host", id.join.host},
                    {"relay_port", id.join.port},
                    {"relay_key", crypto::to_base64(id.join.relay_key)},
                    {"relay_id", crypto::to_base64(id.join.relay_id)},
                    {"token", crypto::to_base64(id.join.token)}};
  return doc.dump(1) + "\n";
}

// nullopt: not of the documented form.
std::optional<AgentIdentity> from_text(const std::string& text) {
  const json doc = json::parse(text, nullptr, false);
  const auto number = [&](const char* key, uint64_t most) -> std::optional<uint64_t> {
    const auto it = doc.find(key);
    if (it == doc.end() || !it->is_number_unsigned() || it->get<uint64_t>() > most) return {};
    return it->get<uint64_t>();
  };
  const auto string = [&](const char* key) -> std::optional<std::string> {
    const auto it = doc.find(key);
    return it != doc.end() && it->is_string() ? std::optional(it->get<std::string>())
                                              : std::nullopt;
  };
  if (!doc.is_object() || number("version", 1) != 1u) return std::nullopt;
  const auto seed = secret_at(doc, "identity_seed");
  const auto e2e = secret_at(doc, "e2e_secret");
  const auto name = string("name");
  const auto host = string("relay_host");
  const auto token_text = string("token");
  const auto tenant = number("tenant", 0xffff);
  const auto port = number("relay_port", 0xffff);
  const auto created = number("created_ms", ~uint64_t{0});
  const auto relay_key = bytes_at(doc, "relay_key", 32);
  // Written by an agent that knew of no later keys: they are the same.
  const auto relay_id = doc.contains("relay_id") ? bytes_at(doc, "relay_id", 32) : relay_key;
  const auto token = token_text ? crypto::from_base64(*token_text) : std::nullopt;
  if (!seed || !e2e || !name || !host || !token || !tenant || !port || !created || !relay_key ||
      !relay_id) {
    return std::nullopt;
  }
  return AgentIdentity{*name,
                       static_cast<uint32_t>(*tenant),
                       crypto::Identity::from_seed(*seed),
                       crypto::X25519KeyPair::from_secret(*e2e),
                       Join{*host, static_cast<uint16_t>(*port), take<32>(relay_key->data()),
                            take<32>(relay_id->data()), *token},
                       *created};
}

Result<void> write_identity(const std::string& path, const AgentIdentity& identity) {
  std::string text = to_text(identity);
  auto written = write_file(path, as_bytes(text), 0600);
  crypto::wipe(text.data(), text.size());
  return written;
}

std::string next_path(const std::string& state) {
  return state + "/identity.next.json";
}

}  // namespace

std::string identity_path(const std::string& state) {
  return state + "/identity.json";
}
std::string pins_path(const std::string& state) {
  return state + "/pins.json";
}
AgentIdentity make_identity(std::string name, uint32_t tenant, Join join, uint64_t unix_ms) {
  return {std::move(name), tenant, crypto::Identity::generate(), crypto::X25519KeyPair::generate(),
          std::move(join), unix_ms};
}

Result<void> create_identity_file(const std::string& state, const AgentIdentity& identity) {
  const std::string path = identity_path(state);
  if (auto made = make_folder(state, 0700); !made) return made;
  if (chmod(state.c_str(), 0700) != 0) {
    return fail(
        ErrorCode::kPermission,
        fmt::format("{} belongs to someone else; choose another folder with --state", state));
  }
  // Claims the place first: of two that start together, one must fail.
  const Fd claim(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!claim && errno == EEXIST) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} already holds an identity, and it is not overwritten; use another "
                            "folder with --state, or move the file away",
                            path));
  }
  if (!claim) return fail(ErrorCode::kPermission, fmt::format("cannot create {}", path));
  auto written = replace_identity_file(state, identity);
  if (!written) unlink(path.c_str());
  return written;
}

Result<void> replace_identity_file(const std::string& state, const AgentIdentity& identity) {
  return write_identity(identity_path(state), identity);
}

Result<std::optional<AgentIdentity>> load_next_identity(const std::string& state) {
  const std::string path = next_path(state);
  auto text = read_secret_file(path);
  if (!text && text.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!text) return tl::unexpected(text.error());
  auto identity = from_text(*text);
  crypto::wipe(text->data(), text->size());
  if (identity) return identity;
  return fail(ErrorCode::kKeyFile,
              fmt::format("{} is not a whole identity file: restore it from a copy, or remove it "
                          "if this agent's change of identity is not known to have begun",
                          path));
}

Result<void> save_next_identity(const std::string& state, const AgentIdentity& identity) {
  return write_identity(next_path(state), identity);
}

Result<void> drop_next_identity(const std::string& state) {
  const std::string path = next_path(state);
  if (unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return fail(ErrorCode::kPermission,
              fmt::format("cannot remove {}: {}", path, std::strerror(errno)));
}

AgentIdentity with_fresh_identity(const AgentIdentity& id, uint64_t unix_ms) {
  return {id.name, id.tenant, crypto::Identity::generate(), id.e2e_key.clone(), id.join, unix_ms};
}

Result<AgentIdentity> load_identity_file(const std::string& state) {
  const std::string path = identity_path(state);
  auto text = read_secret_file(path);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("{} does not exist; run: sluice-agent init < join-string", path));
  }
  if (!text) return tl::unexpected(text.error());
  auto identity = from_text(*text);
  crypto::wipe(text->data(), text->size());
  if (!identity) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("{} is not a whole identity file; restore it from a copy, or move it "
                            "away and run init again (which makes a new identity)",
                            path));
  }
  return std::move(*identity);
}

std::string enrol_statement(const AgentIdentity& id, uint64_t unix_ms) {
  pb::Statement statement;
  statement.set_version(1);
  statement.set_relay_key(std::string(as_text(id.join.relay_id)));
  statement.set_tenant(id.tenant);
  statement.set_issued_ms(unix_ms);
  auto* enrol = statement.mutable_enrol();
  enrol->set_name(id.name);
  enrol->set_visibility(0);
  enrol->set_e2e_key(std::string(as_text(id.e2e_key.public_key)));
  const pb::Signed out = sign_statement(statement, id.identity);
  return crypto::to_base64(as_bytes(out.SerializeAsString()));
}

}  // namespace sluice::agent
