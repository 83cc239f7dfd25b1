// X25519 (RFC 7748) by libsodium. Every scalar multiplication is counted, so that a test can show
// that a flood caused none.
#pragma once

#include "crypto/secret.h"

namespace sluice::crypto {

struct X25519KeyPair {
  Key256 secret;
  ByteArray<32> public_key{};

  static X25519KeyPair generate() noexcept;
  static X25519KeyPair from_secret(const Key256& secret) noexcept;
  X25519KeyPair clone() const;
};

// False when the result is all zero (a low-order point): the handshake must end.
bool x25519(const Key256& secret, const ByteArray<32>& peer, Key256& out) noexcept;

// Scalar multiplications since the process started, of all threads.
uint64_t x25519_operations() noexcept;
void count_x25519(uint64_t n) noexcept;  // for whoever multiplies elsewhere

}  // namespace sluice::crypto
