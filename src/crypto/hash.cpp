#include "crypto/hash.h"

#include <openssl/evp.h>
#include <sodium.h>

#include <cstdlib>

#include "crypto/secret.h"

namespace sluice::crypto {
namespace {

// One digest context a thread: EVP_MD_CTX_new per call costs more than a short SHA-256.
struct Sha256Context {
  EVP_MD_CTX* ctx = EVP_MD_CTX_new();
  EVP_MD* md = EVP_MD_fetch(nullptr, "SHA2-256", nullptr);
  Sha256Context() {
    if (ctx == nullptr || md == nullptr) std::abort();
  }
  Sha256Context(const Sha256Context&) = delete;
  Sha256Context& operator=(const Sha256Context&) = delete;
  ~Sha256Context() {
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(md);
  }
};

Sha256Context& context() {
  thread_local Sha256Context c;
  return c;
}

void check(int ok) noexcept {
  if (ok != 1) std::abort();
}

}  // namespace

ByteArray<32> sha256(std::initializer_list<Bytes> parts) noexcept {
  auto& c = context();
  check(EVP_DigestInit_ex2(c.ctx, c.md, nullptr));
  for (Bytes p : parts) check(EVP_DigestUpdate(c.ctx, p.data(), p.size()));
  ByteArray<32> out;
  check(EVP_DigestFinal_ex(c.ctx, out.data(), nullptr));
  return out;
}

ByteArray<32> hmac_sha256(Bytes key, std::initializer_list<Bytes> parts) noexcept {
  ByteArray<64> pad{};
  if (key.size() > pad.size()) {
    const auto h = sha256({key});
    std::memcpy(pad.data(), h.data(), h.size());
  } else if (!key.empty()) {
    std::memcpy(pad.data(), key.data(), key.size());
  }
  auto& c = context();
  for (auto& b : pad) b ^= 0x36;
  check(EVP_DigestInit_ex2(c.ctx, c.md, nullptr));
  check(EVP_DigestUpdate(c.ctx, pad.data(), pad.size()));
  for (Bytes p : parts) check(EVP_DigestUpdate(c.ctx, p.data(), p.size()));
  ByteArray<32> inner;
  check(EVP_DigestFinal_ex(c.ctx, inner.data(), nullptr));
  for (auto& b : pad) b ^= 0x36 ^ 0x5c;
  const auto out = sha256({pad, inner});
  wipe(pad.data(), pad.size());
  return out;
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
