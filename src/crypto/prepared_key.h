// A public key made ready for verification: affine multiples 1 to 16 of -A, -[2^64]A, -[2^128]A and
// -[2^192]A, so that a verification doubles 60 times and not 250. Plain bytes without a pointer, so
// that it may live in the arena; the same whichever back end built it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::crypto {

struct alignas(64) PreparedKey {
  static constexpr size_t kBases = 4;
  static constexpr size_t kMultiples = 16;

  uint8_t key[32];  // the encoding that it was built from
  uint8_t spare[32];
  // y + x, y - x, 2 d x y: each in [0, p), four little-endian words.
  uint64_t rows[kBases][kMultiples][12];
};
static_assert(sizeof(PreparedKey) == 6208);

}  // namespace sluice::crypto
