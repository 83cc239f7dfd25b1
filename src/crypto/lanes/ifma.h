// Eight 64-bit lanes of AVX-512 with IFMA52 and VBMI2. Only for translation units that are compiled
// with those flags (meson.build: lib_crypto_ifma) and reached behind a CPUID check.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "crypto/lanes/inline.h"

namespace sluice::crypto::lanes {

struct Ifma {
  using V = __m512i;
  using Mask = __mmask8;

  static SLUICE_INLINE V all(uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
  static SLUICE_INLINE V load(const uint64_t* p) { return _mm512_loadu_si512(p); }
  static SLUICE_INLINE void store(uint64_t* p, V a) { _mm512_storeu_si512(p, a); }

  static SLUICE_INLINE V add(V a, V b) { return _mm512_add_epi64(a, b); }
  static SLUICE_INLINE V sub(V a, V b) { return _mm512_sub_epi64(a, b); }
  static SLUICE_INLINE V band(V a, V b) { return _mm512_and_si512(a, b); }
  static SLUICE_INLINE V bor(V a, V b) { return _mm512_or_si512(a, b); }
  // As the compiler's own vectors: a constant count becomes an immediate.
  static SLUICE_INLINE V shr(V a, unsigned n) {
    return reinterpret_cast<V>(reinterpret_cast<__v8du>(a) >> n);
  }
  static SLUICE_INLINE V shl(V a, unsigned n) {
    return reinterpret_cast<V>(reinterpret_cast<__v8du>(a) << n);
  }
  template <unsigned n>
  static SLUICE_INLINE V shrd(V low, V high) {
    return _mm512_shrdi_epi64(low, high, n);
  }
  // By hand: the compiler makes shifts and additions of a product with 19, which are slower than
  // the instruction where it is one micro-operation (Zen 4: a doubling 457 cycles against 403).
  static SLUICE_INLINE V mul64(V a, V b) {
    V r;
    asm("vpmullq %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
    return r;
  }
  static SLUICE_INLINE V xor3(V a, V b, V c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
  static SLUICE_INLINE V choose(V a, V b, V c) { return _mm512_ternarylogic_epi64(a, b, c, 0xca); }
  static SLUICE_INLINE V majority(V a, V b, V c) {
    return _mm512_ternarylogic_epi64(a, b, c, 0xe8);
  }
  template <unsigned n>
  static SLUICE_INLINE V rotate_right(V a) {
    return _mm512_ror_epi64(a, n);
  }
  static SLUICE_INLINE V byte_swap(V a) {
    return _mm512_shuffle_epi8(a,
                               _mm512_set4_epi32(0x08090a0b, 0x0c0d0e0f, 0x00010203, 0x04050607));
  }
  static SLUICE_INLINE V madd_lo(V acc, V a, V b) { return _mm512_madd52lo_epu64(acc, a, b); }
  static SLUICE_INLINE V madd_hi(V acc, V a, V b) { return _mm512_madd52hi_epu64(acc, a, b); }

  static SLUICE_INLINE Mask equal(V a, V b) { return _mm512_cmpeq_epi64_mask(a, b); }
  static SLUICE_INLINE Mask odd(V a) { return _mm512_test_epi64_mask(a, all(1)); }
  static SLUICE_INLINE Mask both(Mask a, Mask b) { return _kand_mask8(a, b); }
  static SLUICE_INLINE Mask either(Mask a, Mask b) { return _kor_mask8(a, b); }
  static SLUICE_INLINE Mask differ(Mask a, Mask b) { return _kxor_mask8(a, b); }
  static SLUICE_INLINE Mask from_bits(uint8_t bits) { return bits; }
  static SLUICE_INLINE uint8_t to_bits(Mask m) { return m; }
  static SLUICE_INLINE V select(Mask m, V a, V b) { return _mm512_mask_blend_epi64(m, b, a); }

  // Gathers cost about twice as much here (Zen 4: some 40 micro-operations for eight words) as
  // whole-row loads and a transposition.
  template <int W>
  static SLUICE_INLINE void load_rows(const uint64_t* const rows[8], V* out) {
    static_assert(W % 4 == 0);
    for (int k = 0; k + 8 <= W; k += 8) {
      V r[8];
      for (int i = 0; i < 8; ++i) r[i] = _mm512_loadu_si512(rows[i] + k);
      transpose(r);
      for (int i = 0; i < 8; ++i) out[k + i] = r[i];
    }
    if constexpr (W % 8 == 4) {
      constexpr int k = W - 4;
      V p[4];  // p[i]: four words of row i, four of row i + 4
      for (int i = 0; i < 4; ++i) {
        p[i] = _mm512_inserti64x4(
            _mm512_castsi256_si512(
                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i] + k))),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(rows[i + 4] + k)), 1);
      }
      const V a = _mm512_unpacklo_epi64(p[0], p[1]), b = _mm512_unpackhi_epi64(p[0], p[1]);
      const V c = _mm512_unpacklo_epi64(p[2], p[3]), d = _mm512_unpackhi_epi64(p[2], p[3]);
      // a: words 0 of rows 0, 1; words 2 of rows 0, 1; the same of rows 4, 5. c: rows 2, 3, 6, 7.
      const V lower = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
      const V upper = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
      out[k + 0] = _mm512_permutex2var_epi64(a, lower, c);
      out[k + 1] = _mm512_permutex2var_epi64(b, lower, d);
      out[k + 2] = _mm512_permutex2var_epi64(a, upper, c);
      out[k + 3] = _mm512_permutex2var_epi64(b, upper, d);
    }
  }

  template <int W>
  static SLUICE_INLINE void store_rows(uint64_t* const rows[8], const V* in) {
    static_assert(W % 4 == 0);
    for (int k = 0; k < W; k += 8) {
      const int n = W - k < 8 ? W - k : 8;
      V r[8];
      for (int i = 0; i < 8; ++i) r[i] = i < n ? in[k + i] : _mm512_setzero_si512();
      transpose(r);
      const auto mask = static_cast<__mmask8>((1u << n) - 1);
      for (int i = 0; i < 8; ++i) _mm512_mask_storeu_epi64(rows[i] + k, mask, r[i]);
    }
  }

 private:
  static SLUICE_INLINE void transpose(V r[8]) {
    V a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
      a[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int h = 0; h < 8; h += 4) {
      for (int i = 0; i < 2; ++i) {
        b[h + i] = _mm512_shuffle_i64x2(a[h + i], a[h + i + 2], 0x88);
        b[h + i + 2] = _mm512_shuffle_i64x2(a[h + i], a[h + i + 2], 0xdd);
      }
    }
    // b[i]: words i and i + 4 of four rows.
    for (int i = 0; i < 4; ++i) {
      r[i] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0x88);
      r[i + 4] = _mm512_shuffle_i64x2(b[i], b[i + 4], 0xdd);
    }
  }
};

}  // namespace sluice::crypto::lanes
