#include "vault/seal_key.h"

#include <cstdlib>

#include "crypto/secret.h"

namespace sluice::vault {

// Guarded memory ends where a page does, so what has a size in whole cache lines begins with one.
SealKey::SealKey(Bytes key) : schedule_(sizeof(crypto::GcmKey)) {
  static_assert(sizeof(crypto::GcmKey) % alignof(crypto::GcmKey) == 0);
  if (key.size() != kKeySize) std::abort();
  crypto::aead().expand(key.data(), *reinterpret_cast<crypto::GcmKey*>(schedule_.data()));
}

Buffer SealKey::seal(Bytes text, Bytes bound) const {
  Buffer out(kSealOverhead + text.size());
  crypto::random_bytes(MutBytes(out).first(crypto::kNonceSize));
  crypto::aead().seal_appended(key(), out.data(), bound, text, out.data() + crypto::kNonceSize);
  return out;
}

bool SealKey::open(Bytes sealed, Bytes bound, MutBytes out) const noexcept {
  if (sealed.size() < kSealOverhead || out.size() != sealed.size() - kSealOverhead) return false;
  if (crypto::aead().open_appended(key(), sealed.data(), bound, sealed.subspan(crypto::kNonceSize),
                                   out.data())) {
    return true;
  }
  crypto::wipe(out.data(), out.size());
  return false;
}

}  // namespace sluice::vault
