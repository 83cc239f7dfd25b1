// AES-256-GCM over IPsec-MB. A `GcmKey` is an expanded key schedule that may live in shared memory:
// plain bytes, no pointers; its layout depends on the IPsec-MB version and the path it chose, which
// is why the arena's header records both. IPsec-MB never compares tags: `open` does, in constant
// time, and reports failure with the plaintext already in place, so callers drop the packet.
// Thread-safe: an Aead only reads its function table.
#pragma once

#include "base/bytes.h"
#include "crypto/secret.h"

struct IMB_MGR;

namespace sluice::crypto {

inline constexpr size_t kTagSize = 16;
inline constexpr size_t kNonceSize = 12;

// 1,008 bytes of IPsec-MB's gcm_key_data, then 16 spare, so that an array of keys stays aligned.
struct alignas(64) GcmKey {
  uint8_t opaque[1024];
};
static_assert(sizeof(GcmKey) == 1024);

// One AEAD operation, in place. The tag stands apart because the wire puts it before the text.
struct AeadOp {
  const GcmKey* key;
  const uint8_t* aad;
  uint8_t* text;
  uint8_t* tag;
  uint32_t text_size;
  uint16_t aad_size;
  uint8_t nonce[kNonceSize];
};

class Aead {
 public:
  // Picks IPsec-MB's best path for this CPU. Needs AES-NI and PCLMULQDQ.
  Aead();
  ~Aead();
  Aead(const Aead&) = delete;
  Aead& operator=(const Aead&) = delete;

  // False where the CPU lacks AES-NI; nothing else may be called then.
  bool usable() const noexcept { return usable_; }
  const char* path() const noexcept;  // "avx512", "avx2", "avx" or "sse"
  static const char* library_version() noexcept;

  void expand(const uint8_t* key32, GcmKey& out) const noexcept;
  // Batches: the key lines that a message of its size will read are prefetched some messages ahead,
  // so that keys out of memory cost little more than keys out of the cache.
  void seal(std::span<AeadOp> ops) const noexcept;  // writes text and tag
  // Bit i of the answer: operation i was authentic. At most 64 at once.
  [[nodiscard]] uint64_t open(std::span<AeadOp> ops) const noexcept;

  // One at a time, text followed by its tag (Noise, end to end). `out` may be `in`.
  void seal_appended(const GcmKey& key, const uint8_t* nonce, Bytes aad, Bytes in,
                     uint8_t* out) const noexcept;
  bool open_appended(const GcmKey& key, const uint8_t* nonce, Bytes aad, Bytes in,
                     uint8_t* out) const noexcept;

 private:
  IMB_MGR* mgr_ = nullptr;
  bool usable_ = false;
};

// The process's one Aead.
const Aead& aead();

}  // namespace sluice::crypto
