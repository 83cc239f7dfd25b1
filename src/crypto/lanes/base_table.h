// Multiples of the base point B, built once by the engine that uses them (well under a millisecond
// with IFMA): for verification, and for X25519 with a fixed base.
#pragma once

#include "crypto/lanes/point.h"

namespace sluice::crypto::lanes {

inline constexpr Limbs kBaseX{
    {1738742601995546, 1146398526822698, 2070867633025821, 562264141797630, 587772402128613}};
inline constexpr Limbs kBaseY{
    {1801439850948184, 1351079888211148, 450359962737049, 900719925474099, 1801439850948198}};

template <class L>
inline __attribute__((noinline)) void double_times(Doublable<L>& p, unsigned n) {
  for (unsigned i = 0; i < n; ++i) double_point(p, p);
}
// The last one for an addition.
template <class L>
inline __attribute__((noinline)) void double_to_add(Addable<L>& out, const Doublable<L>& p) {
  double_point(out, p);
}

// Makes points affine: afterwards the parts are y + x, y - x and 2 d x y (in `t`), frozen. `z` and
// `scratch` hold n elements each.
template <class L>
inline void make_affine(Addable<L>* points, Fe<L>* z, Fe<L>* scratch, size_t n) {
  for (size_t j = 0; j < n; ++j) z[j] = points[j].z;
  invert_all(z, scratch, n);
  for (size_t j = 0; j < n; ++j) {
    points[j].y_plus_x = freeze(mul(points[j].y_plus_x, z[j]));
    points[j].y_minus_x = freeze(mul(points[j].y_minus_x, z[j]));
    points[j].t = freeze(mul(mul(points[j].t, z[j]), Fe<L>::constant(k2D)));
  }
}

// One affine multiple of B: 15 limbs, and one word of padding.
struct alignas(64) BaseRow {
  uint64_t limbs[16];
};

// Signed windows of 10 bits (0 to 512) of B, 2^64 B, 2^128 B and 2^192 B.
struct BaseTable {
  static constexpr size_t kEntries = 513;
  BaseRow rows[4][kEntries];
};

// Signed windows of 4 bits (1 to 8) of 2^(8 i) B, for i = 0 to 31.
struct CombTable {
  BaseRow rows[32][8];
};

template <class L>
inline BaseRow base_row(const Addable<L>& p) {
  BaseRow row{};
  uint64_t lanes[8];
  const Fe<L>* parts[3] = {&p.y_plus_x, &p.y_minus_x, &p.t};
  for (int k = 0; k < 15; ++k) {
    L::store(lanes, parts[k / 5]->v[k % 5]);
    row.limbs[k] = lanes[0];
  }
  return row;
}

template <class L>
inline Addable<L> base_point() {
  return addable_affine(Fe<L>::constant(kBaseX), Fe<L>::constant(kBaseY));
}

// The multiples 1 to n of p. Every lane computes the same: this happens once.
template <class L, size_t n>
inline void fill_rows(const Addable<L>& p, BaseRow* out) {
  constexpr size_t kAtOnce = n < 32 ? n : 32;
  Addable<L> work[kAtOnce];
  Fe<L> z[kAtOnce], scratch[kAtOnce];
  const Cached<L> step = cache(p);
  Addable<L> next = p;
  for (size_t j = 0; j < n; j += kAtOnce) {
    for (auto& w : work) {
      w = next;
      add_point(next, w, step);
    }
    make_affine(work, z, scratch, kAtOnce);
    for (size_t i = 0; i < kAtOnce; ++i) out[j + i] = base_row(work[i]);
  }
}

template <class L>
inline void fill(BaseTable& table) {
  Addable<L> p = base_point<L>();
  for (int base = 0; base < 4; ++base) {
    BaseRow identity{};
    identity.limbs[0] = identity.limbs[5] = 1;
    table.rows[base][0] = identity;
    fill_rows<L, BaseTable::kEntries - 1>(p, &table.rows[base][1]);
    Doublable<L> d = doublable(p);
    double_times(d, 63);
    double_to_add(p, d);
  }
}

template <class L>
inline void fill(CombTable& table) {
  Addable<L> p = base_point<L>();
  for (auto& row : table.rows) {
    fill_rows<L, 8>(p, row);
    Doublable<L> d = doublable(p);
    double_times(d, 7);
    double_to_add(p, d);
  }
}

}  // namespace sluice::crypto::lanes
