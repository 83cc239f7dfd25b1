#include "crypto/secret.h"

#include <sodium.h>

namespace sluice::crypto {

void wipe(void* p, size_t n) noexcept {
  sodium_memzero(p, n);
}

bool equal_secret(Bytes a, Bytes b) noexcept {
  return a.size() == b.size() && sodium_memcmp(a.data(), b.data(), a.size()) == 0;
}

void random_bytes(MutBytes out) noexcept {
  randombytes_buf(out.data(), out.size());
}

uint64_t random_u64() noexcept {
  uint64_t v = 0;
  randombytes_buf(&v, sizeof v);
  return v;
}

bool init() noexcept {
  return sodium_init() >= 0;
}

}  // namespace sluice::crypto
