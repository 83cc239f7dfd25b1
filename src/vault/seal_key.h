// One key of the vault, ready to seal: AES-256-GCM with a random nonce for each sealing. Its
// schedule lies in guarded memory. Move-only; one thread at a time writes, any number may use it.
#pragma once

#include "base/bytes.h"
#include "crypto/aead.h"
#include "crypto/secret_buffer.h"

namespace sluice::vault {

inline constexpr size_t kKeySize = 32;
inline constexpr size_t kSealOverhead = crypto::kNonceSize + crypto::kTagSize;

class SealKey {
 public:
  SealKey() noexcept = default;
  // 32 bytes, which stay the caller's to wipe.
  explicit SealKey(Bytes key);

  bool empty() const noexcept { return schedule_.empty(); }
  // Nonce, text, tag. `bound`: what it is refused without.
  Buffer seal(Bytes text, Bytes bound) const;
  // False: it was not sealed so, by this key. `out` has kSealOverhead bytes less, and is zeros
  // then.
  [[nodiscard]] bool open(Bytes sealed, Bytes bound, MutBytes out) const noexcept;

 private:
  const crypto::GcmKey& key() const noexcept {
    return *reinterpret_cast<const crypto::GcmKey*>(schedule_.view().data());
  }
  crypto::SecretBuffer schedule_;
};

}  // namespace sluice::vault
