// X25519 (RFC 7748) in eight lanes, constant time: scalars go through shifts, masks and arithmetic,
// through no branch and no address.
#pragma once

#include "crypto/lanes/base_table.h"
#include "crypto/lanes/engine.h"

namespace sluice::crypto::lanes {

template <class L>
class X25519 {
  using V = typename L::V;

 public:
  static void multiply(const X25519Item* items, size_t n) {
    Results r;
    for (size_t g = 0; g * kLanes < n; ++g) {
      V k[4], w[4];
      load(items, n, g, &X25519Item::scalar, k);
      clamp(k);
      load(items, n, g, &X25519Item::u, w);
      ladder(k, unpack<L>(w), r.x[g], r.z[g]);
    }
    finish(r, items, n);
  }

  static void multiply_base(const CombTable& comb, const X25519Item* items, size_t n) {
    Results r;
    for (size_t g = 0; g * kLanes < n; ++g) {
      V k[4];
      load(items, n, g, &X25519Item::scalar, k);
      clamp(k);
      comb_product(comb, k, r.x[g], r.z[g]);
    }
    finish(r, items, n);
  }

 private:
  static constexpr int kTopPlace = 63;

  // u = x / z, by group.
  struct Results {
    Fe<L> x[kMaxGroups], z[kMaxGroups], scratch[kMaxGroups];
  };

  // Lanes beyond the last item repeat it.
  static void load(const X25519Item* items, size_t n, size_t g, const uint64_t* X25519Item::*part,
                   V out[4]) {
    const uint64_t* rows[kLanes];
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const size_t i = g * kLanes + lane;
      rows[lane] = items[i < n ? i : n - 1].*part;
    }
    L::template load_rows<4>(rows, out);
  }

  // One inversion for all groups. A lane's z = 0 (a point of low order) becomes 1 before, so that
  // it spoils none of the others, and its result 0.
  static void finish(Results& r, const X25519Item* items, size_t n) {
    const size_t groups = (n + kLanes - 1) / kLanes;
    const Fe<L> zero = Fe<L>::zero();
    for (size_t g = 0; g < groups; ++g) {
      const auto none = same(freeze(r.z[g]), zero);
      r.z[g] = select<L>(none, Fe<L>::one(), r.z[g]);
      r.x[g] = select<L>(none, zero, r.x[g]);
    }
    invert_all(r.z, r.scratch, groups);
    uint64_t nowhere[4];
    for (size_t g = 0; g < groups; ++g) {
      V w[4];
      pack(freeze(mul(r.x[g], r.z[g])), w);
      uint64_t* rows[kLanes];
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const size_t i = g * kLanes + lane;
        rows[lane] = i < n ? items[i].out : nowhere;
      }
      L::template store_rows<4>(rows, w);
    }
  }

  static void comb_product(const CombTable& comb, V k[4], Fe<L>& x, Fe<L>& z) {
    // Signed digits of 4 bits: nibble - 8 after 8 was added to each of the lower 63. The top one
    // keeps its value: a clamped scalar is < 2^255, so it is at most 7 and a carry.
    V carry_in = L::all(0);
    for (int i = 0; i < 4; ++i) {
      const V eights = L::all(i == 3 ? 0x0888888888888888u : 0x8888888888888888u);
      const V s = L::add(L::add(k[i], eights), carry_in);
      carry_in = carry_out(k[i], eights, s);
      k[i] = s;
    }
    // Digits at odd places, four doublings, digits at even places.
    Addable<L> sum = addable_identity<L>();
    for (int i = 0; i < 32; ++i) add_digit(comb, sum, k, 2 * i + 1);
    Doublable<L> d = doublable(sum);
    double_times(d, 3);
    double_to_add(sum, d);
    for (int i = 0; i < 32; ++i) add_digit(comb, sum, k, 2 * i);
    // u = (1 + y) / (1 - y) = (Z + Y) / (Z - Y); Y = (y_plus_x + y_minus_x) / 2.
    const Fe<L> y2 = add(sum.y_plus_x, sum.y_minus_x);
    const Fe<L> z2 = add(sum.z, sum.z);
    x = add(z2, y2);
    z = sub(z2, y2);
  }

  static SLUICE_INLINE void clamp(V k[4]) {
    k[0] = L::band(k[0], L::all(~uint64_t{7}));
    k[3] = L::bor(L::band(k[3], L::all(~uint64_t{0} >> 1)), L::all(uint64_t{1} << 62));
  }
  // Of a + b (+ at most 1) = s, bit 63's carry.
  static SLUICE_INLINE V carry_out(V a, V b, V s) {
    const V both = L::band(a, b);
    const V either_not_sum = L::sub(L::bor(a, b), L::band(L::bor(a, b), s));
    return L::shr(L::bor(both, either_not_sum), 63);
  }

  // RFC 7748 §5, with sums and differences taken before the products are carried. Kept between two
  // steps: a = x2 + z2, b = x2 - z2, c = x3 + z3, d = x3 - z3.
  static __attribute__((noinline)) void ladder(const V k[4], const Fe<L>& x1, Fe<L>& x2,
                                               Fe<L>& z2) {
    const Fe<L> one = Fe<L>::one();
    Fe<L> a = one, b = one, c = add(x1, one), d = sub(x1, one);
    Raw<L> rx2 = raw(one), rz2 = raw(Fe<L>::zero());
    auto last = L::odd(L::all(0));
    for (int i = 254; i >= 0; --i) {
      const auto bit = L::odd(L::shr(k[i / 64], unsigned(i % 64)));
      const auto change = L::differ(last, bit);
      last = bit;
      // Were the pairs exchanged, these two products would be, and neither what is made of their
      // sum nor the square of their difference would change. So only the pair to double is chosen.
      const Raw<L> da = product<FromBias>(d, a), cb = c * b;
      const Raw<L> raa = square<FromBias>(select<L>(change, c, a));
      const Raw<L> rbb = square(select<L>(change, d, b));
      const Fe<L> aa = carry(raa), bb = carry(rbb);
      const Fe<L> e = carry(raa - rbb);
      const Raw<L> rx3 = square<FromBias>(carry(da + cb));
      const Raw<L> rz3 = x1 * sqr(carry(da - cb));
      rx2 = product<FromBias>(aa, bb);
      rz2 = e * carry(plus_times(raw(aa), e, 121665));
      a = carry(rx2 + rz2);
      b = carry(rx2 - rz2);
      c = carry(rx3 + rz3);
      d = carry(rx3 - rz3);
    }
    // Bit 0 of a clamped scalar is 0: the last pair stands where it belongs.
    x2 = carry(rx2);
    z2 = carry(rz2);
  }

  // Adds digit * 2^(4 place) B, its row chosen by looking at all eight.
  static __attribute__((noinline)) void add_digit(const CombTable& comb, Addable<L>& sum,
                                                  const V k[4], int place) {
    const V nibble = L::band(L::shr(k[place / 16], unsigned(4 * (place % 16))), L::all(15));
    const V offset = L::all(place == kTopPlace ? 0 : 8);
    const auto negative = L::odd(L::shr(L::sub(nibble, offset), 63));
    const V magnitude = L::select(negative, L::sub(offset, nibble), L::sub(nibble, offset));
    Fe<L> part[3] = {Fe<L>::one(), Fe<L>::one(), Fe<L>::zero()};
    for (unsigned j = 0; j < 8; ++j) {
      const auto here = L::equal(magnitude, L::all(j + 1));
      const uint64_t* row = comb.rows[place / 2][j].limbs;
      for (int n = 0; n < 15; ++n)
        part[n / 5].v[n % 5] = L::select(here, L::all(row[n]), part[n / 5].v[n % 5]);
    }
    negate_where<L>(negative, part[0], part[1], part[2]);
    add_point(sum, sum, Niels<L>{part[0], part[1], part[2]});
  }
};

}  // namespace sluice::crypto::lanes
