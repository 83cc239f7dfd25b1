// Points of edwards25519, -x^2 + y^2 = 1 + d x^2 y^2, one in each lane, in extended coordinates
// (Hisil, Wong, Carter, Dawson, "Twisted Edwards curves revisited"). The formulas are complete:
// they hold for every pair of points on the curve, of any order, and never give Z = 0.
//
// A result is left in the form that its reader wants, so that sums and differences are carried
// once:
//   Doublable  X, Y, Z
//   Addable    Y + X, Y - X, Z, T = XY / Z
#pragma once

#include "crypto/lanes/field.h"

namespace sluice::crypto::lanes {

// 2^51 limbs of the curve's constants; tests derive them again with big integers.
inline constexpr Limbs kD{
    {929955233495203, 466365720129213, 1662059464998953, 2033849074728123, 1442794654840575}};
inline constexpr Limbs k2D{
    {1859910466990425, 932731440258426, 1072319116312658, 1815898335770999, 633789495995903}};
inline constexpr Limbs kSqrtM1{
    {1718705420411056, 234908883556509, 2233514472574048, 2117202627021982, 765476049583133}};

template <class L>
struct Doublable {
  Fe<L> x, y, z;
};
template <class L>
struct Addable {
  Fe<L> y_plus_x, y_minus_x, z, t;
};

// What is added often: (Y + X, Y - X, 2 d T, 2 Z), and the same with Z = 1.
template <class L>
struct Cached {
  Fe<L> y_plus_x, y_minus_x, t2d, z2;
};
template <class L>
struct Niels {
  Fe<L> y_plus_x, y_minus_x, t2d;
};

template <class L>
SLUICE_INLINE void finish(Doublable<L>& out, const Fe<L>& e, const Fe<L>& f, const Fe<L>& g,
                          const Fe<L>& h) {
  out.x = mul(e, f);
  out.y = mul(g, h);
  out.z = mul(f, g);
}
template <class L>
SLUICE_INLINE void finish(Addable<L>& out, const Fe<L>& e, const Fe<L>& f, const Fe<L>& g,
                          const Fe<L>& h) {
  const Raw<L> x = e * f;
  const Raw<L> y = product<FromBias>(g, h);
  out.y_plus_x = carry(y + x);
  out.y_minus_x = carry(y - x);
  out.z = mul(f, g);
  out.t = mul(e, h);
}

// dbl-2008-hwcd with all four factors' signs turned, which leaves the point as it is.
template <class L, class Out>
SLUICE_INLINE void double_point(Out& out, const Doublable<L>& p) {
  const Raw<L> a = square(p.x);
  const Raw<L> b = square<FromBias>(p.y);
  const Raw<L> c = square<FromBias>(p.z);
  const Fe<L> e = carry(twice(p.x * p.y));
  const Fe<L> h = carry(a + b);
  const Fe<L> g = carry(b - a);
  const Fe<L> f = carry(twice(c) + a - b);
  finish(out, e, f, g, h);
}

// add-2008-hwcd-3. `z2` was started from kBias.
template <class L, class Out>
SLUICE_INLINE void add_with(Out& out, const Addable<L>& p, const Fe<L>& y_plus_x,
                            const Fe<L>& y_minus_x, const Fe<L>& t2d, const Raw<L>& z2) {
  const Raw<L> a = p.y_minus_x * y_minus_x;
  const Raw<L> b = product<FromBias>(p.y_plus_x, y_plus_x);
  const Raw<L> c = p.t * t2d;
  const Fe<L> e = carry(b - a);
  const Fe<L> f = carry(z2 - c);
  const Fe<L> g = carry(z2 + c);
  const Fe<L> h = carry(b + a);
  finish(out, e, f, g, h);
}
template <class L, class Out>
SLUICE_INLINE void add_point(Out& out, const Addable<L>& p, const Cached<L>& q) {
  add_with(out, p, q.y_plus_x, q.y_minus_x, q.t2d, product<FromBias>(p.z, q.z2));
}
template <class L, class Out>
SLUICE_INLINE void add_point(Out& out, const Addable<L>& p, const Niels<L>& q) {
  add_with(out, p, q.y_plus_x, q.y_minus_x, q.t2d, plus(twice(raw(p.z)), kBias));
}

template <class L>
SLUICE_INLINE Addable<L> addable_identity() {
  return {Fe<L>::one(), Fe<L>::one(), Fe<L>::one(), Fe<L>::zero()};
}
template <class L>
SLUICE_INLINE Doublable<L> doublable_identity() {
  return {Fe<L>::zero(), Fe<L>::one(), Fe<L>::one()};
}

template <class L>
SLUICE_INLINE Cached<L> cache(const Addable<L>& p) {
  return {p.y_plus_x, p.y_minus_x, mul(p.t, Fe<L>::constant(k2D)), add(p.z, p.z)};
}
// The addable point's doubled x and y: projectively X, Y, Z are all scaled by 2.
template <class L>
SLUICE_INLINE Doublable<L> doublable(const Addable<L>& p) {
  return {sub(p.y_plus_x, p.y_minus_x), add(p.y_plus_x, p.y_minus_x), add(p.z, p.z)};
}
template <class L>
SLUICE_INLINE Addable<L> addable_affine(const Fe<L>& x, const Fe<L>& y) {
  return {add(y, x), sub(y, x), Fe<L>::one(), mul(x, y)};
}
template <class L>
SLUICE_INLINE Niels<L> niels_affine(const Fe<L>& x, const Fe<L>& y) {
  return {add(y, x), sub(y, x), mul(mul(x, y), Fe<L>::constant(k2D))};
}

// -P: the sums change places, T changes its sign.
template <class L>
SLUICE_INLINE void negate_where(typename L::Mask m, Fe<L>& y_plus_x, Fe<L>& y_minus_x, Fe<L>& t2d) {
  const Fe<L> plus = select<L>(m, y_minus_x, y_plus_x);
  y_minus_x = select<L>(m, y_plus_x, y_minus_x);
  y_plus_x = plus;
  t2d = select<L>(m, negate(t2d), t2d);
}

template <class L, int N>
struct Decompressed {
  FeGroup<L, N> x, y;
  typename L::Mask on_curve[N];
};

// RFC 8032 §5.1.3 for the y of each encoding (words, bit 255 the sign of x), except that neither
// y >= p nor a negative zero is refused here: libsodium's decompression does not refuse them
// either, its verification does so before. Where the square root does not exist, x is arbitrary.
template <class L, int N>
inline void decompress(const typename L::V (*words)[4], Decompressed<L, N>& out) {
  FeGroup<L, N> u, v, uv3, t;
  for (int k = 0; k < N; ++k) {
    const Fe<L> y = unpack<L>(words[k]);
    out.y.e[k] = y;
    const Raw<L> y2 = square(y);
    u.e[k] = carry(plus(y2, kBiasTight) - raw(Fe<L>::one()));
    v.e[k] = carry(carry(y2) * Fe<L>::constant(kD) + raw(Fe<L>::one()));
    const Fe<L> v3 = mul(sqr(v.e[k]), v.e[k]);
    uv3.e[k] = mul(u.e[k], v3);
    t.e[k] = mul(u.e[k], mul(sqr(v3), v.e[k]));
  }
  t = power_p58<L, N>(t);
  for (int k = 0; k < N; ++k) {
    Fe<L> x = mul(uv3.e[k], t.e[k]);  // u v^3 (u v^7)^((p-5)/8)
    const Raw<L> vx2 = product<FromBias>(v.e[k], sqr(x));
    const Fe<L> zero = Fe<L>::zero();
    const auto plus = same(freeze(carry(vx2 - raw(u.e[k]))), zero);
    const auto minus_ = same(freeze(carry(vx2 + raw(u.e[k]))), zero);
    x = select<L>(plus, x, mul(x, Fe<L>::constant(kSqrtM1)));
    out.on_curve[k] = L::either(plus, minus_);
    const Fe<L> frozen = freeze(x);
    const auto wants_odd = L::odd(L::shr(words[k][3], 63));
    const auto flip = L::differ(wants_odd, L::odd(frozen.v[0]));
    out.x.e[k] = select<L>(flip, negate(frozen), frozen);
  }
}

}  // namespace sluice::crypto::lanes
