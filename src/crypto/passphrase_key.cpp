#include "crypto/passphrase_key.h"

#include <sodium.h>

namespace sluice::crypto {

bool key_from_passphrase(Bytes passphrase, const ByteArray<kPassphraseSalt>& salt,
                         const Argon2Costs& costs, MutBytes key) noexcept {
  static_assert(kPassphraseSalt == crypto_pwhash_argon2id_SALTBYTES);
  const int rc = crypto_pwhash_argon2id(
      key.data(), key.size(), reinterpret_cast<const char*>(passphrase.data()), passphrase.size(),
      salt.data(), costs.passes, size_t{costs.memory_mb} << 20,
      crypto_pwhash_argon2id_ALG_ARGON2ID13);
  // It leaves the key on the stack; what it called is far from that deep.
  sodium_stackzero(64u << 10);
  return rc == 0;
}

}  // namespace sluice::crypto
