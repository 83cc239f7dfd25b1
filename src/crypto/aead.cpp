#include "crypto/aead.h"

#include <intel-ipsec-mb.h>

#include <cstdlib>

#include "base/prefetch.h"

namespace sluice::crypto {
namespace {

static_assert(sizeof(gcm_key_data) <= sizeof(GcmKey));

const gcm_key_data* native(const GcmKey& key) noexcept {
  return reinterpret_cast<const gcm_key_data*>(key.opaque);
}

// gcm_key_data: the round keys in lines 0 to 3, then powers of the hash key, the lowest last. A
// message reads as many powers as it has blocks (and one for its additional data and one for its
// lengths), at most the 48 that there are. To the second level: a prefetch
// to the first holds one of its few miss buffers until memory has answered.
constexpr unsigned kKeyBytes = sizeof(gcm_key_data);
constexpr unsigned kLine = 64;
// Messages ahead: a message of 64 bytes takes a quarter of a memory access.
constexpr size_t kAhead = 8;

void prefetch_key(const AeadOp& op) noexcept {
  const uint8_t* key = op.key->opaque;
  for (unsigned at = 0; at < 4 * kLine; at += kLine) prefetch(key + at);
  const unsigned blocks = op.text_size / 16 + 3 + op.aad_size / 16;
  const unsigned powers = blocks < 48 ? blocks : 48;
  for (unsigned at = (kKeyBytes - 16 * powers) / kLine * kLine; at < kKeyBytes; at += kLine) {
    prefetch(key + at);
  }
}

}  // namespace

Aead::Aead() : mgr_(alloc_mb_mgr(0)) {
  if (mgr_ == nullptr) std::abort();
  IMB_ARCH arch = IMB_ARCH_NONE;
  init_mb_mgr_auto(mgr_, &arch);
  usable_ = imb_get_errno(mgr_) == 0 && (mgr_->features & IMB_FEATURE_AESNI) != 0 &&
            arch != IMB_ARCH_NONE && arch != IMB_ARCH_NOAESNI;
}

Aead::~Aead() {
  free_mb_mgr(mgr_);
}

const char* Aead::path() const noexcept {
  switch (static_cast<IMB_ARCH>(mgr_->used_arch)) {
    case IMB_ARCH_AVX512:
      return "avx512";
    case IMB_ARCH_AVX2:
      return "avx2";
    case IMB_ARCH_AVX:
      return "avx";
    case IMB_ARCH_SSE:
      return "sse";
    default:
      return "none";
  }
}

const char* Aead::library_version() noexcept {
  return imb_get_version_str();
}

void Aead::expand(const uint8_t* key32, GcmKey& out) const noexcept {
  IMB_AES256_GCM_PRE(mgr_, key32, reinterpret_cast<gcm_key_data*>(out.opaque));
}

void Aead::seal(std::span<AeadOp> ops) const noexcept {
  gcm_context_data context;
  for (size_t i = 0; i < ops.size() && i < kAhead; ++i) prefetch_key(ops[i]);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (i + kAhead < ops.size()) prefetch_key(ops[i + kAhead]);
    AeadOp& op = ops[i];
    IMB_AES256_GCM_ENC(mgr_, native(*op.key), &context, op.text, op.text, op.text_size, op.nonce,
                       op.aad, op.aad_size, op.tag, kTagSize);
  }
}

uint64_t Aead::open(std::span<AeadOp> ops) const noexcept {
  gcm_context_data context;
  uint64_t authentic = 0;
  for (size_t i = 0; i < ops.size() && i < kAhead; ++i) prefetch_key(ops[i]);
  for (size_t i = 0; i < ops.size(); ++i) {
    if (i + kAhead < ops.size()) prefetch_key(ops[i + kAhead]);
    AeadOp& op = ops[i];
    uint8_t tag[kTagSize];
    IMB_AES256_GCM_DEC(mgr_, native(*op.key), &context, op.text, op.text, op.text_size, op.nonce,
                       op.aad, op.aad_size, tag, kTagSize);
    const uint64_t difference = (load_le<uint64_t>(tag) ^ load_le<uint64_t>(op.tag)) |
                                (load_le<uint64_t>(tag + 8) ^ load_le<uint64_t>(op.tag + 8));
    authentic |= uint64_t{difference == 0} << i;
  }
  return authentic;
}

void Aead::seal_appended(const GcmKey& key, const uint8_t* nonce, Bytes aad, Bytes in,
                         uint8_t* out) const noexcept {
  gcm_context_data context;
  IMB_AES256_GCM_ENC(mgr_, native(key), &context, out, in.data(), in.size(), nonce, aad.data(),
                     aad.size(), out + in.size(), kTagSize);
  wipe(&context, sizeof context);
}

bool Aead::open_appended(const GcmKey& key, const uint8_t* nonce, Bytes aad, Bytes in,
                         uint8_t* out) const noexcept {
  if (in.size() < kTagSize) return false;
  const size_t n = in.size() - kTagSize;
  uint8_t received[kTagSize];
  std::memcpy(received, in.data() + n, kTagSize);
  gcm_context_data context;
  uint8_t tag[kTagSize];
  IMB_AES256_GCM_DEC(mgr_, native(key), &context, out, in.data(), n, nonce, aad.data(), aad.size(),
                     tag, kTagSize);
  wipe(&context, sizeof context);
  const bool ok = equal_secret(tag, received);
  if (!ok && n > 0) wipe(out, n);
  return ok;
}

const Aead& aead() {
  static const Aead instance;
  return instance;
}

}  // namespace sluice::crypto
