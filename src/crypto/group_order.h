// Arithmetic modulo L = 2^252 + 27742317777372353535851937790883648493, the order of Ed25519's base
// point (RFC 8032 §5.1), on public numbers: little-endian words, not constant time.
#pragma once

#include <cstdint>

#include "crypto/wide.h"

namespace sluice::crypto {

inline constexpr uint64_t kOrder[4] = {0x5812631a5cf5d3ed, 0x14def9dea2f79cd6, 0,
                                       0x1000000000000000};

inline bool below_order(const uint64_t s[4]) noexcept {
  for (int i = 3; i >= 0; --i) {
    if (s[i] != kOrder[i]) return s[i] < kOrder[i];
  }
  return false;
}

namespace detail {
struct Mu {
  uint64_t w[5];
};
// floor(2^512 / L), by long division.
constexpr Mu barrett_constant() {
  Mu q{};
  uint64_t rest[5] = {};
  for (int bit = 512; bit >= 0; --bit) {
    uint64_t in = bit == 512;
    for (uint64_t& w : rest) {
      const uint64_t out = w >> 63;
      w = w << 1 | in;
      in = out;
    }
    bool at_least = true;
    for (int i = 4; i >= 0; --i) {
      const uint64_t l = i == 4 ? 0 : kOrder[i];
      if (rest[i] != l) {
        at_least = rest[i] > l;
        break;
      }
    }
    if (!at_least) continue;
    uint64_t borrow = 0;
    for (int i = 0; i < 5; ++i) {
      const uint64_t l = i == 4 ? 0 : kOrder[i];
      const uint64_t d = rest[i] - l - borrow;
      borrow = rest[i] < l || (rest[i] == l && borrow != 0) ? 1 : 0;
      rest[i] = d;
    }
    if (bit < 320) q.w[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  return q;
}
inline constexpr Mu kMu = barrett_constant();
}  // namespace detail

// x mod L for any 512-bit x (Handbook of Applied Cryptography, algorithm 14.42, with b = 2^64 and
// k = 4: the estimate is at most 2 too small).
inline void reduce_by_order(const uint64_t x[8], uint64_t out[4]) noexcept {
  uint64_t q2[10] = {};
  for (int i = 0; i < 5; ++i) {
    uint64_t carry = 0;
    for (int j = 0; j < 5; ++j) {
      const Uint128 t = Uint128{x[3 + i]} * detail::kMu.w[j] + q2[i + j] + carry;
      q2[i + j] = static_cast<uint64_t>(t);
      carry = static_cast<uint64_t>(t >> 64);
    }
    q2[i + 5] = carry;
  }
  const uint64_t* q3 = q2 + 5;
  uint64_t product[5] = {};  // q3 * L modulo 2^320
  for (int i = 0; i < 5; ++i) {
    uint64_t carry = 0;
    for (int j = 0; i + j < 5; ++j) {
      const Uint128 t = Uint128{q3[i]} * (j < 4 ? kOrder[j] : 0) + product[i + j] + carry;
      product[i + j] = static_cast<uint64_t>(t);
      carry = static_cast<uint64_t>(t >> 64);
    }
  }
  uint64_t r[5];
  uint64_t borrow = 0;
  for (int i = 0; i < 5; ++i) {
    const Uint128 t = Uint128{x[i]} - product[i] - borrow;
    r[i] = static_cast<uint64_t>(t);
    borrow = static_cast<uint64_t>(t >> 64) & 1;
  }
  while (r[4] != 0 || !below_order(r)) {
    borrow = 0;
    for (int i = 0; i < 5; ++i) {
      const Uint128 t = Uint128{r[i]} - (i < 4 ? kOrder[i] : 0) - borrow;
      r[i] = static_cast<uint64_t>(t);
      borrow = static_cast<uint64_t>(t >> 64) & 1;
    }
  }
  for (int i = 0; i < 4; ++i) out[i] = r[i];
}

}  // namespace sluice::crypto
