#include "control/relay_keys.h"

#include <unistd.h>

#include <filesystem>

#include <fmt/format.h>

#include "base/file.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

constexpr std::string_view kLaterKey = "tunnel-";

Result<crypto::Key256> read_key(const std::string& path) {
  auto text = read_secret_file(path, 256);
  if (!text) return tl::unexpected(text.error());
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  auto raw = crypto::from_base64(*text);
  crypto::wipe(text->data(), text->size());
  if (!raw || raw->size() != 32) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("{} does not hold a key (32 bytes as base64 on one line)", path));
  }
  crypto::Key256 key(take<32>(raw->data()));
  crypto::wipe(raw->data(), raw->size());
  return key;
}

Result<void> write_key(const std::string& path, const crypto::Key256& key) {
  std::string text = crypto::to_base64(key.view()) + "\n";
  auto r = write_file(path, as_bytes(text), 0600);
  crypto::wipe(text.data(), text.size());
  return r;
}

bool has_later_key(const std::string& state_dir) {
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(state_dir, ec)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kLaterKey) && name.ends_with(".key")) return true;
  }
  return false;
}

}  // namespace

Result<void> write_tunnel_key(const std::string& path, const crypto::X25519KeyPair& pair) {
  return write_key(path, pair.secret);
}

Result<crypto::X25519KeyPair> read_tunnel_key(const std::string& path) {
  auto key = read_key(path);
  if (!key && key.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("no relay key at {}; make one with: sluiced --new-key {}", path, path));
  }
  if (!key) return tl::unexpected(key.error());
  return crypto::X25519KeyPair::from_secret(*key);
}

Result<RelayKeys> RelayKeys::load(const std::string& tunnel_key_file,
                                  const std::string& state_dir) {
  RelayKeys keys;
  if (access(tunnel_key_file.c_str(), F_OK) == 0 || !has_later_key(state_dir)) {
    auto tunnel = read_tunnel_key(tunnel_key_file);
    if (!tunnel) return tl::unexpected(tunnel.error());
    keys.tunnel = std::move(*tunnel);
    keys.id = keys.tunnel.public_key;
  }

  const std::string path = state_dir + "/operator.key";
  auto seed = read_key(path);
  if (seed) {
    keys.operator_key = crypto::Identity::from_seed(*seed);
  } else if (seed.error().code == ErrorCode::kNotFound) {
    keys.operator_key = crypto::Identity::generate();
    if (auto r = write_key(path, keys.operator_key.seed()); !r) return tl::unexpected(r.error());
  } else {
    return tl::unexpected(seed.error());
  }
  return keys;
}

Result<ByteArray<32>> create_tunnel_key(const std::string& path) {
  if (access(path.c_str(), F_OK) == 0) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} exists; every agent's join string would stop working if it were "
                            "replaced: move it away first",
                            path));
  }
  const auto pair = crypto::X25519KeyPair::generate();
  if (auto r = write_key(path, pair.secret); !r) return tl::unexpected(r.error());
  return pair.public_key;
}

std::string public_text(const ByteArray<32>& tunnel_key, const ByteArray<32>& id) {
  const std::string name = id == tunnel_key ? "" : "~" + crypto::to_base64url(id);
  return crypto::to_base64url(tunnel_key) + name;
}

std::string public_text_path(const std::string& state_dir) {
  return state_dir + "/relay.public";
}

Result<std::string> read_public_text(const std::string& tunnel_key_file,
                                     const std::string& state_dir) {
  const std::string path = public_text_path(state_dir);
  if (access(path.c_str(), F_OK) == 0) {
    auto text = read_file(path, 256);
    if (text && text->ends_with('\n')) text->pop_back();
    return text;
  }
  const auto key = read_tunnel_key(tunnel_key_file);
  if (!key) return tl::unexpected(key.error());
  return public_text(key->public_key, key->public_key);
}

std::string join_string(const std::string& host, uint16_t port, const std::string& public_text) {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("sluice://{}{}{}:{}/#{}", v6 ? "[" : "", host, v6 ? "]" : "", port,
                     public_text);
}

}  // namespace sluice::control
