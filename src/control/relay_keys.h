// The relay's own keys, read once at start: the tunnel key that agents know from their join string,
// and the operator key that signs revocation notices. Control thread.
#pragma once

#include <string>

#include "base/error.h"
#include "crypto/identity.h"
#include "crypto/x25519.h"

namespace sluice::control {

struct RelayKeys {
  crypto::X25519KeyPair tunnel;
  crypto::Identity operator_key;

  // The tunnel key's file must exist (see create_tunnel_key); the operator key's is made when it
  // is missing. Files hold 32 bytes as base64 and a line end, mode 0600.
  static Result<RelayKeys> load(const std::string& tunnel_key_file, const std::string& state_dir);
};

Result<crypto::X25519KeyPair> read_tunnel_key(const std::string& path);

// Refuses to replace an existing file. Returns the public key.
Result<ByteArray<32>> create_tunnel_key(const std::string& path);

// sluice://host:port/#<relay key, base64url>
std::string join_string(const std::string& host, uint16_t port, const ByteArray<32>& tunnel_key);

}  // namespace sluice::control
