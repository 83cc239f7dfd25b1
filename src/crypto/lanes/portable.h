// Eight 64-bit lanes in plain C++: the second back end of the lane templates (ifma.h is the first).
// It exists so that the same formulas can be run by tools that know no AVX-512: memcheck with
// poisoned scalars, sanitizers, an old CPU. Tests only. No function branches or indexes on lane
// values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#define SLUICE_INLINE inline
#include "crypto/lanes/inline.h"
#include "crypto/wide.h"

namespace sluice::crypto::lanes {

struct Portable {
  struct V {
    uint64_t w[8];
  };
  // A choice per lane: all ones or zero.
  struct Mask {
    uint64_t w[8];
  };

  template <typename F>
  static V each(F f) {
    V r;
    for (int i = 0; i < 8; ++i) r.w[i] = f(i);
    return r;
  }

  static V all(uint64_t x) {
    return each([&](int) { return x; });
  }
  static V load(const uint64_t* p) {
    return each([&](int i) { return p[i]; });
  }
  static void store(uint64_t* p, V a) { std::memcpy(p, a.w, sizeof a.w); }

  static V add(V a, V b) {
    return each([&](int i) { return a.w[i] + b.w[i]; });
  }
  static V sub(V a, V b) {
    return each([&](int i) { return a.w[i] - b.w[i]; });
  }
  static V band(V a, V b) {
    return each([&](int i) { return a.w[i] & b.w[i]; });
  }
  static V bor(V a, V b) {
    return each([&](int i) { return a.w[i] | b.w[i]; });
  }
  // Shift counts are the same for all lanes, never secret, and below 64.
  static V shr(V a, unsigned n) {
    return each([&](int i) { return a.w[i] >> n; });
  }
  static V shl(V a, unsigned n) {
    return each([&](int i) { return a.w[i] << n; });
  }
  // (high:low) >> n, low 64 bits; 0 < n < 64.
  template <unsigned n>
  static V shrd(V low, V high) {
    return each([&](int i) { return low.w[i] >> n | high.w[i] << (64 - n); });
  }
  // The low 64 bits of a product.
  static V mul64(V a, V b) {
    return each([&](int i) { return a.w[i] * b.w[i]; });
  }

  static V xor3(V a, V b, V c) {
    return each([&](int i) { return a.w[i] ^ b.w[i] ^ c.w[i]; });
  }
  // a ? b : c, bit by bit.
  static V choose(V a, V b, V c) {
    return each([&](int i) { return (a.w[i] & b.w[i]) | (~a.w[i] & c.w[i]); });
  }
  static V majority(V a, V b, V c) {
    return each([&](int i) { return (a.w[i] & b.w[i]) | (c.w[i] & (a.w[i] | b.w[i])); });
  }
  template <unsigned n>
  static V rotate_right(V a) {
    return each([&](int i) { return a.w[i] >> n | a.w[i] << (64 - n); });
  }
  static V byte_swap(V a) {
    return each([&](int i) { return __builtin_bswap64(a.w[i]); });
  }

  // VPMADD52LUQ and VPMADD52HUQ: acc + low or high 52 bits of the product of the operands' low
  // 52 bits.
  static V madd_lo(V acc, V a, V b) {
    return each([&](int i) { return acc.w[i] + (static_cast<uint64_t>(wide(a, b, i)) & kLow52); });
  }
  static V madd_hi(V acc, V a, V b) {
    return each([&](int i) { return acc.w[i] + static_cast<uint64_t>(wide(a, b, i) >> 52); });
  }

  static Mask equal(V a, V b) {
    Mask m;
    for (int i = 0; i < 8; ++i) {
      const uint64_t d = a.w[i] ^ b.w[i];
      m.w[i] = ((d | (0 - d)) >> 63) - 1;
    }
    return m;
  }
  // Lanes whose bit 0 is set.
  static Mask odd(V a) {
    Mask m;
    for (int i = 0; i < 8; ++i) m.w[i] = 0 - (a.w[i] & 1);
    return m;
  }
  static Mask both(Mask a, Mask b) {
    for (int i = 0; i < 8; ++i) a.w[i] &= b.w[i];
    return a;
  }
  static Mask either(Mask a, Mask b) {
    for (int i = 0; i < 8; ++i) a.w[i] |= b.w[i];
    return a;
  }
  static Mask differ(Mask a, Mask b) {
    for (int i = 0; i < 8; ++i) a.w[i] ^= b.w[i];
    return a;
  }
  static Mask from_bits(uint8_t bits) {
    Mask m;
    for (int i = 0; i < 8; ++i) m.w[i] = 0 - uint64_t{(bits >> i) & 1u};
    return m;
  }
  // One bit for each lane. For public masks: what it answers may be branched on.
  static uint8_t to_bits(Mask m) {
    uint8_t bits = 0;
    for (int i = 0; i < 8; ++i) bits = static_cast<uint8_t>(bits | (m.w[i] & 1) << i);
    return bits;
  }
  // m ? a : b
  static V select(Mask m, V a, V b) {
    return each([&](int i) { return (a.w[i] & m.w[i]) | (b.w[i] & ~m.w[i]); });
  }

  // W words from each of eight rows, so that out[k] holds word k of every row. W: multiple of 4.
  template <int W>
  static void load_rows(const uint64_t* const rows[8], V* out) {
    for (int k = 0; k < W; ++k) out[k] = each([&](int i) { return rows[i][k]; });
  }
  template <int W>
  static void store_rows(uint64_t* const rows[8], const V* in) {
    for (int k = 0; k < W; ++k) {
      for (int i = 0; i < 8; ++i) rows[i][k] = in[k].w[i];
    }
  }

 private:
  static constexpr uint64_t kLow52 = (uint64_t{1} << 52) - 1;
  static Uint128 wide(const V& a, const V& b, int i) {
    return static_cast<Uint128>(a.w[i] & kLow52) * (b.w[i] & kLow52);
  }
};

}  // namespace sluice::crypto::lanes
