#include "control/relay_keys.h"

#include <unistd.h>

#include <fmt/format.h>

#include "base/file.h"
#include "crypto/text.h"

namespace sluice::control {
namespace {

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

}  // namespace

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
  auto tunnel = read_tunnel_key(tunnel_key_file);
  if (!tunnel) return tl::unexpected(tunnel.error());
  keys.tunnel = std::move(*tunnel);

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

std::string join_string(const std::string& host, uint16_t port, const ByteArray<32>& tunnel_key) {
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("sluice://{}{}{}:{}/#{}", v6 ? "[" : "", host, v6 ? "]" : "", port,
                     crypto::to_base64url(tunnel_key));
}

}  // namespace sluice::control
