// Many X25519 scalar multiplications (RFC 7748) at once, eight in the lanes of AVX-512 IFMA where
// the CPU has it (batch_engine.h), one at a time with libsodium elsewhere. Constant time. Each is
// counted in x25519_operations(). Any thread; allocates nothing.
#pragma once

#include <span>

#include "crypto/batch_engine.h"
#include "crypto/x25519.h"

namespace sluice::crypto {

struct X25519Job {
  const Key256* secret;
  const ByteArray<32>* peer;
  Key256* out;
  // Written: false when the result is all zero (a low-order point), and `out` with it.
  bool good = false;
};

void x25519_batch(std::span<X25519Job> jobs, const lanes::Engine* engine = batch_engine()) noexcept;

// Fresh key pairs, or those of given secrets (fixed base).
void x25519_generate(std::span<X25519KeyPair> out,
                     const lanes::Engine* engine = batch_engine()) noexcept;
void x25519_public_keys(std::span<X25519KeyPair> pairs,
                        const lanes::Engine* engine = batch_engine()) noexcept;

}  // namespace sluice::crypto
