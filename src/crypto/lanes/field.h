// Arithmetic modulo p = 2^255 - 19 in eight independent lanes: five limbs of 51 bits in 64-bit
// words, products by 52-bit multiply-add (as in Gueron and Krasnov, "Software implementation of
// modular exponentiation using AVX-512 IFMA", and Bernstein's curve25519 for the reduction by 19).
//
// Two forms, told apart by type, with the bounds that every operation keeps:
//   Fe   "tight": every limb < 2^51 + 2^17. What a multiplication reads (it sees 52 bits).
//   Raw  "wide":  sums of products before any carry, every limb < 2^63.
// A product's Raw has limbs < 2^59. Sums and differences are taken on Raw, so that one carry serves
// a whole expression. Differences add a multiple of p whose every limb is above what is taken away.
// Constant time throughout: no branch and no index depends on a lane's value.
#pragma once

#include <cstddef>
#include <cstdint>

#include "crypto/lanes/inline.h"

namespace sluice::crypto::lanes {

inline constexpr uint64_t kMask51 = (uint64_t{1} << 51) - 1;

// A field element as constants are written down: little-endian limbs of 51 bits.
struct Limbs {
  uint64_t v[5];
};

template <class L>
struct Raw {
  typename L::V v[5];
};

template <class L>
struct Fe {
  typename L::V v[5];

  static SLUICE_INLINE Fe constant(const Limbs& c) {
    Fe r;
    for (int i = 0; i < 5; ++i) r.v[i] = L::all(c.v[i]);
    return r;
  }
  static SLUICE_INLINE Fe zero() { return constant({{0, 0, 0, 0, 0}}); }
  static SLUICE_INLINE Fe one() { return constant({{1, 0, 0, 0, 0}}); }
};

// m * p, limb by limb. The least limb of 2^k * p is 2^(k+51) - 19 * 2^k.
constexpr Limbs times_p(uint64_t m) {
  return {{m * (kMask51 - 18), m * kMask51, m * kMask51, m * kMask51, m * kMask51}};
}
// Above a product's Raw (2^59) in every limb. A multiple of 38 and of 4, so that a product can
// start from it at no cost (`product`, `square`).
inline constexpr Limbs kBias = times_p(608);
// Above twice a tight element.
inline constexpr Limbs kBiasTight = times_p(4);

// Raw with limbs < 2^63 to tight: carries leave every limb at once, < 2^12 each, so limbs end
// below 2^51 + 19 * 2^12.
template <class L>
SLUICE_INLINE Fe<L> carry(const Raw<L>& r) {
  const auto mask = L::all(kMask51);
  typename L::V c[5];
  for (int i = 0; i < 5; ++i) c[i] = L::shr(r.v[i], 51);
  Fe<L> out;
  out.v[0] = L::madd_lo(L::band(r.v[0], mask), c[4], L::all(19));
  for (int i = 1; i < 5; ++i) out.v[i] = L::add(L::band(r.v[i], mask), c[i - 1]);
  return out;
}

template <class L>
SLUICE_INLINE Raw<L> raw(const Fe<L>& a) {
  return {{a.v[0], a.v[1], a.v[2], a.v[3], a.v[4]}};
}
template <class L>
SLUICE_INLINE Raw<L> operator+(const Raw<L>& a, const Raw<L>& b) {
  Raw<L> r;
  for (int i = 0; i < 5; ++i) r.v[i] = L::add(a.v[i], b.v[i]);
  return r;
}
template <class L>
SLUICE_INLINE Raw<L> twice(const Raw<L>& a) {
  return a + a;
}
// For b below a in every limb: a product that was started from kBias, less another one.
template <class L>
SLUICE_INLINE Raw<L> operator-(const Raw<L>& a, const Raw<L>& b) {
  Raw<L> r;
  for (int i = 0; i < 5; ++i) r.v[i] = L::sub(a.v[i], b.v[i]);
  return r;
}
template <class L>
SLUICE_INLINE Raw<L> plus(const Raw<L>& a, const Limbs& b) {
  Raw<L> r;
  for (int i = 0; i < 5; ++i) r.v[i] = L::add(a.v[i], L::all(b.v[i]));
  return r;
}

template <class L>
SLUICE_INLINE typename L::V times(uint64_t k, typename L::V x) {
  return L::mul64(x, L::all(k));
}
template <class L>
SLUICE_INLINE typename L::V dbl(typename L::V x) {
  return L::add(x, x);
}

// Column k of a product holds 2^(51k): low halves of limbs i + j = k, and twice the high halves
// (which weigh 2^52) of i + j = k - 1. Columns 5 to 9 come back multiplied by 19.
// With tight limbs low halves are < 2^52, high halves <= 2^50 + 2^18, so that columns 5 to 9 are
// < 6.5 * 2^52 + 2^22 and the result < 124.5 * 2^52 + 2^30 < 2^59.
//
// Chains are templates and not loops: the compiler keeps limbs in registers only when it sees every
// index. `low` and `high` add the halves of all products of column k.
template <int k, class L, int i = (k < 5 ? 0 : k - 4)>
SLUICE_INLINE typename L::V low(typename L::V acc, const Fe<L>& a, const Fe<L>& b) {
  acc = L::madd_lo(acc, a.v[i], b.v[k - i]);
  if constexpr (i < 4 && i < k) {
    return low<k, L, i + 1>(acc, a, b);
  } else {
    return acc;
  }
}
template <int k, class L, int i = (k < 5 ? 0 : k - 4)>
SLUICE_INLINE typename L::V high(typename L::V acc, const Fe<L>& a, const Fe<L>& b) {
  acc = L::madd_hi(acc, a.v[i], b.v[k - i]);
  if constexpr (i < 4 && i < k) {
    return high<k, L, i + 1>(acc, a, b);
  } else {
    return acc;
  }
}
// Where a sum starts: at zero, or at a multiple of p, so that something may be taken off
// afterwards.
struct FromZero {
  static constexpr Limbs kStart{{0, 0, 0, 0, 0}};
};
struct FromBias {
  static constexpr Limbs kStart = kBias;
};

template <int k, class From, class L>
SLUICE_INLINE typename L::V column(const Fe<L>& a, const Fe<L>& b) {
  constexpr uint64_t kStart = From::kStart.v[k];
  static_assert(kStart % 38 == 0);
  auto acc = high<k + 4>(L::all(k == 0 ? kStart / 38 : 0), a, b);
  if constexpr (k < 4) {
    acc = times<L>(19, low<k + 5>(dbl<L>(acc), a, b));
  } else {
    acc = times<L>(38, acc);  // nothing is added after the doubling
  }
  if constexpr (k > 0) acc = L::add(acc, dbl<L>(high<k - 1>(L::all(kStart / 2), a, b)));
  return low<k>(acc, a, b);
}
template <class From = FromZero, class L>
SLUICE_INLINE Raw<L> product(const Fe<L>& a, const Fe<L>& b) {
  return {{column<0, From>(a, b), column<1, From>(a, b), column<2, From>(a, b),
           column<3, From>(a, b), column<4, From>(a, b)}};
}
template <class L>
SLUICE_INLINE Raw<L> operator*(const Fe<L>& a, const Fe<L>& b) {
  return product(a, b);
}

// The same columns of a square: products of different limbs are summed once and doubled.
template <int k, class L, int i = (k < 5 ? 0 : k - 4)>
SLUICE_INLINE typename L::V low_pairs(typename L::V acc, const Fe<L>& a) {
  if constexpr (2 * i < k) {
    return low_pairs<k, L, i + 1>(L::madd_lo(acc, a.v[i], a.v[k - i]), a);
  } else {
    return acc;
  }
}
template <int k, class L, int i = (k < 5 ? 0 : k - 4)>
SLUICE_INLINE typename L::V high_pairs(typename L::V acc, const Fe<L>& a) {
  if constexpr (2 * i < k) {
    return high_pairs<k, L, i + 1>(L::madd_hi(acc, a.v[i], a.v[k - i]), a);
  } else {
    return acc;
  }
}
// Half of column k, but for the square of a limb that is in it where k is even.
template <int k, class L>
SLUICE_INLINE typename L::V half_column(const Fe<L>& a, uint64_t start) {
  auto acc = L::all(start);
  if constexpr (k > 1) acc = dbl<L>(high_pairs<k - 1>(acc, a));
  if constexpr (k % 2 == 1) acc = L::madd_hi(acc, a.v[k / 2], a.v[k / 2]);
  return low_pairs<k>(acc, a);
}
template <int k, class L>
SLUICE_INLINE typename L::V square_column(const Fe<L>& a, uint64_t start) {
  auto acc = L::all(start);
  if constexpr (k > 0) acc = dbl<L>(half_column<k>(a, start / (k == 1 ? 2 : 4)));
  if constexpr (k % 2 == 0) acc = L::madd_lo(acc, a.v[k / 2], a.v[k / 2]);
  return acc;
}
template <int k, class From, class L>
SLUICE_INLINE typename L::V folded_square_column(const Fe<L>& a) {
  typename L::V upper;
  if constexpr (k % 2 == 0) {
    upper = times<L>(38, half_column<k + 5>(a, 0));
  } else {
    upper = times<L>(19, square_column<k + 5>(a, 0));
  }
  return L::add(square_column<k>(a, From::kStart.v[k]), upper);
}
template <class From = FromZero, class L>
SLUICE_INLINE Raw<L> square(const Fe<L>& a) {
  return {{folded_square_column<0, From>(a), folded_square_column<1, From>(a),
           folded_square_column<2, From>(a), folded_square_column<3, From>(a),
           folded_square_column<4, From>(a)}};
}

template <class L>
SLUICE_INLINE Fe<L> mul(const Fe<L>& a, const Fe<L>& b) {
  return carry(a * b);
}
template <class L>
SLUICE_INLINE Fe<L> sqr(const Fe<L>& a) {
  return carry(square(a));
}
// a + k * b for a small constant k < 2^20 (X25519's 121666): limbs < 2^59 + 2^52 + 19 * 2^22.
template <class L>
SLUICE_INLINE Raw<L> plus_times(const Raw<L>& a, const Fe<L>& b, uint64_t k) {
  const auto kk = L::all(k);
  Raw<L> r;
  for (int i = 0; i < 5; ++i) r.v[i] = L::madd_lo(a.v[i], b.v[i], kk);
  const auto zero = L::all(0);
  for (int i = 0; i < 4; ++i) r.v[i + 1] = L::add(r.v[i + 1], dbl<L>(L::madd_hi(zero, b.v[i], kk)));
  const auto top = dbl<L>(L::madd_hi(zero, b.v[4], kk));
  r.v[0] = L::madd_lo(r.v[0], top, L::all(19));
  return r;
}

template <class L>
SLUICE_INLINE Fe<L> add(const Fe<L>& a, const Fe<L>& b) {
  return carry(raw(a) + raw(b));
}
template <class L>
SLUICE_INLINE Fe<L> sub(const Fe<L>& a, const Fe<L>& b) {
  return carry(plus(raw(a), kBiasTight) - raw(b));
}
template <class L>
SLUICE_INLINE Fe<L> negate(const Fe<L>& a) {
  return sub(Fe<L>::zero(), a);
}
template <class L>
SLUICE_INLINE Fe<L> select(typename L::Mask m, const Fe<L>& a, const Fe<L>& b) {
  Fe<L> r;
  for (int i = 0; i < 5; ++i) r.v[i] = L::select(m, a.v[i], b.v[i]);
  return r;
}

// The one representative in [0, p), limbs < 2^51.
template <class L>
SLUICE_INLINE Fe<L> freeze(const Fe<L>& a) {
  using V = typename L::V;
  const V mask = L::all(kMask51);
  Fe<L> t = a;
  // Two rounds of carries from limb to limb end with limbs < 2^51 (the first leaves limb 0 up to 18
  // above), so the value is < 2^255.
  for (int round = 0; round < 2; ++round) {
    V c = L::all(0);
    for (int i = 0; i < 5; ++i) {
      t.v[i] = L::add(t.v[i], c);
      c = L::shr(t.v[i], 51);
      t.v[i] = L::band(t.v[i], mask);
    }
    t.v[0] = L::add(t.v[0], L::mul64(c, L::all(19)));
  }
  // q = 1 where the value is >= p: the carry out of value + 19.
  V q = L::all(19);
  for (int i = 0; i < 5; ++i) q = L::shr(L::add(t.v[i], q), 51);
  V c = L::mul64(q, L::all(19));
  for (int i = 0; i < 5; ++i) {
    const V s = L::add(t.v[i], c);
    t.v[i] = L::band(s, mask);
    c = L::shr(s, 51);
  }
  return t;
}

// Both frozen.
template <class L>
SLUICE_INLINE typename L::Mask same(const Fe<L>& a, const Fe<L>& b) {
  auto m = L::equal(a.v[0], b.v[0]);
  for (int i = 1; i < 5; ++i) m = L::both(m, L::equal(a.v[i], b.v[i]));
  return m;
}

// Four little-endian words; bit 255 is dropped.
template <class L>
SLUICE_INLINE Fe<L> unpack(const typename L::V w[4]) {
  const auto mask = L::all(kMask51);
  Fe<L> r;
  r.v[0] = L::band(w[0], mask);
  r.v[1] = L::band(L::template shrd<51>(w[0], w[1]), mask);
  r.v[2] = L::band(L::template shrd<38>(w[1], w[2]), mask);
  r.v[3] = L::band(L::template shrd<25>(w[2], w[3]), mask);
  r.v[4] = L::band(L::shr(w[3], 12), mask);
  return r;
}
// Of a frozen element.
template <class L>
SLUICE_INLINE void pack(const Fe<L>& a, typename L::V w[4]) {
  w[0] = L::bor(a.v[0], L::shl(a.v[1], 51));
  w[1] = L::bor(L::shr(a.v[1], 13), L::shl(a.v[2], 38));
  w[2] = L::bor(L::shr(a.v[2], 26), L::shl(a.v[3], 25));
  w[3] = L::bor(L::shr(a.v[3], 39), L::shl(a.v[4], 12));
}

// N elements at once: one chain of squarings leaves the multipliers half idle.
template <class L, int N>
struct FeGroup {
  Fe<L> e[N];
};

template <class L, int N>
inline __attribute__((noinline)) void square_times(FeGroup<L, N>& a, unsigned n) {
  for (unsigned i = 0; i < n; ++i) {
    for (int k = 0; k < N; ++k) a.e[k] = sqr(a.e[k]);
  }
}
template <class L, int N>
inline __attribute__((noinline)) void multiply(FeGroup<L, N>& a, const FeGroup<L, N>& b) {
  for (int k = 0; k < N; ++k) a.e[k] = mul(a.e[k], b.e[k]);
}

// z^(2^250 - 1), and z^11 on the way: the addition chain that both exponents below begin with
// (Bernstein, "Curve25519: new Diffie-Hellman speed records").
template <class L, int N>
inline FeGroup<L, N> power_2_250_1(const FeGroup<L, N>& z, FeGroup<L, N>& z11) {
  const auto squared = [](FeGroup<L, N> a, unsigned n) {
    square_times<L, N>(a, n);
    return a;
  };
  const auto times = [](FeGroup<L, N> a, const FeGroup<L, N>& b) {
    multiply<L, N>(a, b);
    return a;
  };
  const auto z2 = squared(z, 1);
  const auto z9 = times(squared(z2, 2), z);
  z11 = times(z9, z2);
  const auto x5 = times(squared(z11, 1), z9);  // 2^5 - 1
  const auto x10 = times(squared(x5, 5), x5);
  const auto x20 = times(squared(x10, 10), x10);
  const auto x40 = times(squared(x20, 20), x20);
  const auto x50 = times(squared(x40, 10), x10);
  const auto x100 = times(squared(x50, 50), x50);
  const auto x200 = times(squared(x100, 100), x100);
  return times(squared(x200, 50), x50);
}

// z^(p-2): the inverse, and 0 for 0.
template <class L, int N>
inline FeGroup<L, N> invert(const FeGroup<L, N>& z) {
  FeGroup<L, N> z11;
  auto t = power_2_250_1<L, N>(z, z11);
  square_times<L, N>(t, 5);
  multiply<L, N>(t, z11);
  return t;
}

// z^((p-5)/8) = z^(2^252 - 3).
template <class L, int N>
inline FeGroup<L, N> power_p58(const FeGroup<L, N>& z) {
  FeGroup<L, N> z11;
  auto t = power_2_250_1<L, N>(z, z11);
  square_times<L, N>(t, 2);
  multiply<L, N>(t, z);
  return t;
}

// All of a[0..n) inverted by one inversion and 3(n - 1) multiplications (Montgomery). No lane may
// hold a zero anywhere: it would spoil the lane's other elements. `scratch` has room for n.
template <class L>
inline void invert_all(Fe<L>* a, Fe<L>* scratch, size_t n) {
  if (n == 0) return;
  scratch[0] = a[0];
  for (size_t i = 1; i < n; ++i) scratch[i] = mul(scratch[i - 1], a[i]);
  FeGroup<L, 1> t{{scratch[n - 1]}};
  t = invert<L, 1>(t);
  Fe<L> inverse = t.e[0];
  for (size_t i = n - 1; i > 0; --i) {
    const Fe<L> here = mul(inverse, scratch[i - 1]);
    inverse = mul(inverse, a[i]);
    a[i] = here;
  }
  a[0] = inverse;
}

}  // namespace sluice::crypto::lanes
