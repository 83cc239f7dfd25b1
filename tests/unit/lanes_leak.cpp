// What check_lanes.py must find: a branch on a lane, and a gather at addresses that lanes choose.
// Never linked into anything.
#include <immintrin.h>

namespace sluice::crypto::lanes {

template <class L>
struct X25519 {
  static __attribute__((noinline)) long long branches(__m512i scalar, const long long* table) {
    if (_mm512_test_epi64_mask(scalar, _mm512_set1_epi64(1)) == 0x5a) return table[0];
    return table[1];
  }
  static __attribute__((noinline)) __m512i gathers(__m512i scalar, const long long* table) {
    return _mm512_i64gather_epi64(scalar, table, 8);
  }
  static __attribute__((noinline)) long long through_memory(__m512i scalar,
                                                            const long long* table) {
    volatile __m512i slot = scalar;
    return table[reinterpret_cast<volatile long long*>(&slot)[3]];
  }
  static __attribute__((noinline)) long long ladder(long long bits, const long long* table) {
    long long sum = 0;
    for (int i = 0; i < 255; ++i) {
      if (((bits >> (i % 64)) & 1) != 0) {
        asm volatile("" : "+r"(sum));
        sum += table[i];
      }
      asm volatile("" : "+r"(bits));
    }
    return sum;
  }
};
template struct X25519<int>;

}  // namespace sluice::crypto::lanes
