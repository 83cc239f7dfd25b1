#include "crypto/cookie.h"

#include <sodium.h>

#include "crypto/hash.h"

namespace sluice::crypto {
namespace {

ByteArray<32> cookie_key(const ByteArray<32>& relay) noexcept {
  return blake2b_256({as_bytes("sluice-cookie/1"), relay});
}

}  // namespace

ByteArray<32> mac1_key(const ByteArray<32>& receiver) noexcept {
  return blake2b_256({as_bytes("sluice-mac1/1"), receiver});
}

Cookie make_cookie(const Key256& secret, const ByteArray<16>& ip, uint16_t port) noexcept {
  uint8_t port_bytes[2];
  store_le(port_bytes, port);
  return blake2b_128(secret.view(), {ip, port_bytes});
}

ByteArray<32> seal_cookie(const ByteArray<32>& relay, const ByteArray<24>& nonce, Bytes mac1,
                          const Cookie& cookie) noexcept {
  const auto key = cookie_key(relay);
  ByteArray<32> out;
  crypto_aead_xchacha20poly1305_ietf_encrypt(out.data(), nullptr, cookie.data(), cookie.size(),
                                             mac1.data(), mac1.size(), nullptr, nonce.data(),
                                             key.data());
  return out;
}

bool open_cookie(const ByteArray<32>& relay, Bytes nonce, Bytes mac1, Bytes sealed,
                 Cookie& out) noexcept {
  const auto key = cookie_key(relay);
  return crypto_aead_xchacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, sealed.data(),
                                                    sealed.size(), mac1.data(), mac1.size(),
                                                    nonce.data(), key.data()) == 0;
}

}  // namespace sluice::crypto
