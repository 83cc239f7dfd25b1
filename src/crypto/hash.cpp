#include "crypto/hash.h"

// The SHA-256 functions below EVP: the same code with SHA-NI, without 150 ns of look-ups around a
// block or two, of which a handshake hashes some sixty times as many.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
#include <sodium.h>

#include "crypto/secret.h"

namespace sluice::crypto {
namespace {

class Sha256 {
 public:
  Sha256() noexcept { SHA256_Init(&ctx_); }
  // SHA256_Final wipes the block that it holds, and leaves the digest in the state.
  ~Sha256() { wipe(&ctx_, sizeof ctx_); }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(Bytes p) noexcept { SHA256_Update(&ctx_, p.data(), p.size()); }
  ByteArray<32> finish() noexcept {
    ByteArray<32> out;
    SHA256_Final(out.data(), &ctx_);
    return out;
  }

 private:
  SHA256_CTX ctx_;
};

}  // namespace

ByteArray<32> sha256(std::initializer_list<Bytes> parts) noexcept {
  Sha256 h;
  for (Bytes p : parts) h.add(p);
  return h.finish();
}

HmacSha256::HmacSha256(Bytes key) noexcept {
  static_assert(sizeof(SHA256_CTX) <= sizeof inner_);
  ByteArray<64> pad{};
  if (key.size() > pad.size()) {
    const auto h = sha256({key});
    std::memcpy(pad.data(), h.data(), h.size());
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  for (auto& b : pad) b ^= 0x36;
  Sha256 inner;
  inner.add(pad);
  std::memcpy(inner_, &inner, sizeof inner);
  for (auto& b : pad) b ^= 0x36 ^ 0x5c;
  Sha256 outer;
  outer.add(pad);
  std::memcpy(outer_, &outer, sizeof outer);
  wipe(pad.data(), pad.size());
}

HmacSha256::~HmacSha256() {
  wipe(inner_, sizeof inner_);
  wipe(outer_, sizeof outer_);
}

ByteArray<32> HmacSha256::mac(std::initializer_list<Bytes> parts) const noexcept {
  Sha256 inner, outer;
  std::memcpy(static_cast<void*>(&inner), inner_, sizeof inner);
  std::memcpy(static_cast<void*>(&outer), outer_, sizeof outer);
  for (Bytes p : parts) inner.add(p);
  auto digest = inner.finish();
  outer.add(digest);
  wipe(digest.data(), digest.size());
  return outer.finish();
}

ByteArray<32> hmac_sha256(Bytes key, std::initializer_list<Bytes> parts) noexcept {
  return HmacSha256(key).mac(parts);
}

void hkdf_sha256(Bytes ikm, std::string_view info, MutBytes out) noexcept {
  const ByteArray<32> zero_salt{};
  auto prk = hmac_sha256(zero_salt, {ikm});
  const uint8_t one = 1;
  auto okm = hmac_sha256(prk, {as_bytes(info), Bytes(&one, 1)});
  std::memcpy(out.data(), okm.data(), out.size());
  wipe(prk.data(), prk.size());
  wipe(okm.data(), okm.size());
}

namespace {

template <size_t N>
ByteArray<N> blake2b(Bytes key, std::initializer_list<Bytes> parts) noexcept {
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), N);
  for (Bytes p : parts) crypto_generichash_update(&state, p.data(), p.size());
  ByteArray<N> out;
  crypto_generichash_final(&state, out.data(), N);
  return out;
}

}  // namespace

ByteArray<32> blake2b_256(std::initializer_list<Bytes> parts) noexcept {
  return blake2b<32>({}, parts);
}

ByteArray<16> blake2b_128(Bytes key, std::initializer_list<Bytes> parts) noexcept {
  return blake2b<16>(key, parts);
}

uint64_t siphash(const ByteArray<16>& key, Bytes message) noexcept {
  ByteArray<8> out;
  crypto_shorthash(out.data(), message.data(), message.size(), key.data());
  return load_le<uint64_t>(out.data());
}

}  // namespace sluice::crypto
