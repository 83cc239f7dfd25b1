// Hashes and MACs that the protocol names: SHA-256 (OpenSSL: SHA-NI), HKDF over it, keyed BLAKE2b
// (libsodium), SipHash-2-4 for short-lived values between a worker and itself. No state, any
// thread.
#pragma once

#include <initializer_list>

#include "base/bytes.h"

namespace sluice::crypto {

ByteArray<32> sha256(std::initializer_list<Bytes> parts) noexcept;
// RFC 2104, for several messages under one key.
class HmacSha256 {
 public:
  explicit HmacSha256(Bytes key) noexcept;
  ~HmacSha256();
  HmacSha256(const HmacSha256&) = delete;
  HmacSha256& operator=(const HmacSha256&) = delete;
  ByteArray<32> mac(std::initializer_list<Bytes> parts) const noexcept;

 private:
  // The hash after the key's inner and outer pad.
  alignas(16) uint8_t inner_[112];
  alignas(16) uint8_t outer_[112];
};
ByteArray<32> hmac_sha256(Bytes key, std::initializer_list<Bytes> parts) noexcept;

// RFC 5869 with an empty salt; out at most 32 bytes.
void hkdf_sha256(Bytes ikm, std::string_view info, MutBytes out) noexcept;

ByteArray<32> blake2b_256(std::initializer_list<Bytes> parts) noexcept;
ByteArray<16> blake2b_128(Bytes key, std::initializer_list<Bytes> parts) noexcept;

uint64_t siphash(const ByteArray<16>& key, Bytes message) noexcept;

}  // namespace sluice::crypto
