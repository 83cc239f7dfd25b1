#include "agent/retry_cookie.h"

#include <openssl/evp.h>

#include <bit>
#include <memory>

#include "crypto/hash.h"
#include "crypto/secret.h"

namespace sluice::agent {
namespace {

void quarter_round(uint32_t* s, int a, int b, int c, int d) {
  s[a] += s[b], s[d] = std::rotl(s[d] ^ s[a], 16);
  s[c] += s[d], s[b] = std::rotl(s[b] ^ s[c], 12);
  s[a] += s[b], s[d] = std::rotl(s[d] ^ s[a], 8);
  s[c] += s[d], s[b] = std::rotl(s[b] ^ s[c], 7);
}

// HChaCha20 (§2.2 of the draft): ChaCha20's rounds without the final addition.
ByteArray<32> hchacha20(const ByteArray<32>& key, const uint8_t* nonce16) {
  static constexpr uint32_t kConstants[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  uint32_t s[16];
  std::memcpy(s, kConstants, 16);
  std::memcpy(s + 4, key.data(), 32);
  std::memcpy(s + 12, nonce16, 16);
  for (int round = 0; round < 10; ++round) {
    quarter_round(s, 0, 4, 8, 12);
    quarter_round(s, 1, 5, 9, 13);
    quarter_round(s, 2, 6, 10, 14);
    quarter_round(s, 3, 7, 11, 15);
    quarter_round(s, 0, 5, 10, 15);
    quarter_round(s, 1, 6, 11, 12);
    quarter_round(s, 2, 7, 8, 13);
    quarter_round(s, 3, 4, 9, 14);
  }
  ByteArray<32> out;
  std::memcpy(out.data(), s, 16);
  std::memcpy(out.data() + 16, s + 12, 16);
  crypto::wipe(s, sizeof s);
  return out;
}

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
};

}  // namespace

bool xchacha20_poly1305_open(const ByteArray<32>& key, Bytes nonce, Bytes aad, Bytes sealed,
                             MutBytes out) {
  if (nonce.size() != 24 || sealed.size() < 16 || out.size() != sealed.size() - 16) return false;
  ByteArray<32> subkey = hchacha20(key, nonce.data());
  uint8_t inner[12] = {};
  std::memcpy(inner + 4, nonce.data() + 16, 8);
  ByteArray<16> tag = take<16>(sealed.data() + out.size());
  const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> ctx(EVP_CIPHER_CTX_new());
  int n = 0;
  const bool ok =
      ctx != nullptr &&
      EVP_DecryptInit_ex(ctx.get(), EVP_chacha20_poly1305(), nullptr, subkey.data(), inner) == 1 &&
      EVP_DecryptUpdate(ctx.get(), nullptr, &n, aad.data(), int(aad.size())) == 1 &&
      EVP_DecryptUpdate(ctx.get(), out.data(), &n, sealed.data(), int(out.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_AEAD_SET_TAG, 16, tag.data()) == 1 &&
      EVP_DecryptFinal_ex(ctx.get(), nullptr, &n) == 1;
  crypto::wipe(subkey.data(), subkey.size());
  return ok;
}

std::optional<Cookie> open_cookie(const ByteArray<32>& relay_key, const wire::RetryView& retry,
                                  Bytes mac1) {
  const auto key = crypto::blake2b_256({as_bytes("sluice-cookie/1"), relay_key});
  Cookie out;
  if (!xchacha20_poly1305_open(key, retry.nonce, mac1, retry.sealed_cookie, out)) {
    return std::nullopt;
  }
  return out;
}

}  // namespace sluice::agent
