// The relay's own keys: the tunnel key that agents greet, for a time also the one before it, and
// the operator key that signs what the relay itself states. Control thread.
#pragma once

#include <optional>
#include <string>

#include "base/error.h"
#include "control/store_rows.h"
#include "crypto/identity.h"
#include "crypto/x25519.h"

namespace sluice::control {

struct RelayKeys {
  // The relay's first tunnel key: its name in statements, for good (docs/protocol.md §5). Nobody
  // needs its secret for that.
  ByteArray<32> id{};
  crypto::X25519KeyPair tunnel;
  struct Previous {
    crypto::X25519KeyPair pair;
    uint64_t until_ms = 0;  // Unix
  };
  std::optional<Previous> previous;
  std::optional<RelayKeyRow> change;  // the last one; none: it has its first key
  crypto::Identity operator_key;

  // The file of the first tunnel key (see create_tunnel_key) may be gone once another is in use;
  // `tunnel` is empty then. The operator key's is made when it is missing. Files hold 32 bytes as
  // base64 and a line end, mode 0600.
  static Result<RelayKeys> load(const std::string& tunnel_key_file, const std::string& state_dir);
};

Result<crypto::X25519KeyPair> read_tunnel_key(const std::string& path);
// Durable; an existing file is replaced.
Result<void> write_tunnel_key(const std::string& path, const crypto::X25519KeyPair& pair);

// Refuses to replace an existing file. Returns the public key.
Result<ByteArray<32>> create_tunnel_key(const std::string& path);

// What a join string says of the relay: <relay key, base64url>[~<its id, where that is another
// key>].
std::string public_text(const ByteArray<32>& tunnel_key, const ByteArray<32>& id);
// sluice://host:port/#<public text>
std::string join_string(const std::string& host, uint16_t port, const std::string& public_text);

// For a program beside the relay, which alone reads its store: the relay leaves its public text in
// a file once its first key is replaced.
std::string public_text_path(const std::string& state_dir);
Result<std::string> read_public_text(const std::string& tunnel_key_file,
                                     const std::string& state_dir);

}  // namespace sluice::control
