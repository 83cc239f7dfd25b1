// What a lane back end offers, as a table of functions: the only thing that is shared between
// translation units compiled for different CPUs. No inline code crosses this line.
#pragma once

#include <cstddef>
#include <cstdint>

#include "crypto/prepared_key.h"

namespace sluice::crypto::lanes {

inline constexpr size_t kLanes = 8;
inline constexpr size_t kMaxGroups = 8;
inline constexpr size_t kMaxItems = kLanes * kMaxGroups;

// One signature after the checks on its encodings: words of the key, of R, of s, and of the hash
// reduced modulo the group's order (both < 2^253).
struct VerifyItem {
  uint64_t key[4], r[4], s[4], h[4];
  const PreparedKey* prepared;  // verify_prepared only
};

// Two pieces hashed as one message: what Ed25519 puts before the message, and the message.
struct Sha512Input {
  const uint8_t* head;
  size_t head_size;
  const uint8_t* body;
  size_t body_size;
};

// Four words each. The scalar is clamped, u's bit 255 dropped, as RFC 7748 says.
struct X25519Item {
  const uint64_t* scalar;
  const uint64_t* u;
  uint64_t* out;
};

struct Engine {
  const char* name;
  // Working memory of one verifier: one thread at a time, aligned to 64 bytes, set up by `start`.
  size_t ed25519_bytes;
  void (*ed25519_start)(void* memory);
  uint64_t (*verify)(void* memory, const VerifyItem* items, size_t n);
  uint64_t (*verify_prepared)(void* memory, const VerifyItem* items, size_t n);
  uint8_t (*prepare)(void* memory, const uint64_t (*keys)[4], size_t n, PreparedKey* const* out);
  void (*sha512)(const Sha512Input (&in)[8], uint64_t (&out)[8][8]);
  // At most kMaxItems each; a result that does not exist is all zero.
  void (*x25519)(const X25519Item* items, size_t n);
  void (*x25519_base)(const X25519Item* items, size_t n);  // of u = 9
};

// Needs AVX-512 F, BW, DQ, VBMI2 and IFMA: batch_engine.h looks.
const Engine& ifma_engine();
// Slower than libsodium: for tests, in a library of its own (lib_crypto_portable).
const Engine& portable_engine();

}  // namespace sluice::crypto::lanes
