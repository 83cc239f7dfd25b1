// Ed25519 verification in eight lanes: R' = s B - h A, compared with R by its encoding, so that R
// is never decompressed. Everything here is public, so tables are read at addresses that depend on
// it.
#pragma once

#include <cstring>

#include "crypto/lanes/base_table.h"
#include "crypto/lanes/engine.h"
#include "crypto/wide.h"

namespace sluice::crypto::lanes {

// Windows are signed: digits d = window - 2^(w-1), made by adding 2^(w-1) at every window but the
// top one first, which keeps its carry and is never negative.
inline constexpr int kKeyWindow = 5;
inline constexpr int kBaseWindow = 10;
inline constexpr int kWindows = 51;  // of the key, over 253 bits
inline constexpr int kChunkWindows = 13;

// Sum of 2^(w-1) * 2^(w i) for i < n, in 64-bit words.
struct Words4 {
  uint64_t w[4];
};
constexpr Words4 window_offset(int width, int n) {
  Words4 r{};
  for (int i = 0; i < n; ++i) {
    const int bit = width * i + width - 1;
    r.w[bit / 64] |= uint64_t{1} << (bit % 64);
  }
  return r;
}
inline constexpr Words4 kKeyOffset = window_offset(kKeyWindow, kWindows - 1);
inline constexpr Words4 kBaseOffset = window_offset(kBaseWindow, 25);
inline constexpr uint64_t kChunkKeyOffset = window_offset(kKeyWindow, 12).w[0];
inline constexpr uint64_t kChunkBaseOffset = window_offset(kBaseWindow, 6).w[0];
inline constexpr uint64_t kLow60 = (uint64_t{1} << 60) - 1;

inline void add_words(const uint64_t a[4], const Words4& b, uint64_t out[4]) {
  Uint128 c = 0;
  for (int i = 0; i < 4; ++i) {
    c += a[i];
    c += b.w[i];
    out[i] = static_cast<uint64_t>(c);
    c >>= 64;
  }
}
// `width` bits from `bit` on; bits above 255 are zero.
inline unsigned window_at(const uint64_t w[4], int bit, int width) {
  const int k = bit / 64, s = bit % 64;
  uint64_t v = w[k] >> s;
  if (s + width > 64 && k < 3) v |= w[k + 1] << (64 - s);
  return static_cast<unsigned>(v & ((uint64_t{1} << width) - 1));
}

// A signed digit as row and sign.
struct Digit {
  unsigned magnitude;
  bool negative;
};
inline Digit signed_digit(unsigned window, unsigned half) {
  const bool negative = window < half;
  return {negative ? half - window : window - half, negative};
}

template <class L>
SLUICE_INLINE Fe<L> row_element(const typename L::V* v) {
  return {{v[0], v[1], v[2], v[3], v[4]}};
}

template <class L>
SLUICE_INLINE Niels<L> load_base(const BaseRow* const rows[8], uint8_t negative) {
  const uint64_t* p[8];
  for (int i = 0; i < 8; ++i) p[i] = rows[i]->limbs;
  typename L::V v[16];
  L::template load_rows<16>(p, v);
  Niels<L> n{row_element<L>(v), row_element<L>(v + 5), row_element<L>(v + 10)};
  negate_where<L>(L::from_bits(negative), n.y_plus_x, n.y_minus_x, n.t2d);
  return n;
}

template <class L>
SLUICE_INLINE Niels<L> load_prepared(const uint64_t* const rows[8], uint8_t negative) {
  typename L::V v[12];
  L::template load_rows<12>(rows, v);
  Niels<L> n{unpack<L>(v), unpack<L>(v + 4), unpack<L>(v + 8)};
  negate_where<L>(L::from_bits(negative), n.y_plus_x, n.y_minus_x, n.t2d);
  return n;
}

template <class L>
class Ed25519 {
  using V = typename L::V;

 public:
  explicit Ed25519(const BaseTable& base) : base_(base) {}

  // Bit i: item i holds. At most 64.
  uint64_t verify(const VerifyItem* items, size_t n) {
    const size_t groups = (n + kLanes - 1) / kLanes;
    for (size_t g = 0; g < groups; g += 2) {
      if (g + 1 < groups) {
        take_keys<2>(items, n, g);
      } else {
        take_keys<1>(items, n, g);
      }
    }
    for (size_t g = 0; g < groups; ++g) {
      build_table(g);
      multiply_any(items, n, g);
    }
    return compare(items, n);
  }

  // The same for items whose keys are prepared.
  uint64_t verify_prepared(const VerifyItem* items, size_t n) {
    const size_t groups = (n + kLanes - 1) / kLanes;
    for (size_t g = 0; g < groups; ++g) {
      key_ok_[g] = 0xff;
      choose_rows(items, n, g);
      if (g == 0) prefetch(0, kChunkWindows - 1), prefetch(0, kChunkWindows - 2);
      if (g > 0) multiply_prepared(g - 1, true);
    }
    if (groups > 0) multiply_prepared(groups - 1, false);
    return compare(items, n);
  }

  // Up to eight keys (encodings in words) at once. Bit i: key i is on the curve and out[i] filled.
  uint8_t prepare(const uint64_t (*keys)[4], size_t n, PreparedKey* const* out) {
    V words[1][4];
    transpose_words(words[0], [&](size_t lane) { return keys[lane < n ? lane : n - 1]; });
    Decompressed<L, 1> point;
    decompress<L, 1>(words, point);
    const auto ok = L::to_bits(point.on_curve[0]);
    use_base_point_unless(ok, point.x.e[0], point.y.e[0]);

    Addable<L> p = addable_affine(negate(point.x.e[0]), point.y.e[0]);
    for (size_t base = 0; base < PreparedKey::kBases; ++base) {
      Addable<L>* const m = work_ + base * PreparedKey::kMultiples;
      const Cached<L> step = cache(p);
      m[0] = p;
      for (size_t j = 1; j < PreparedKey::kMultiples; ++j) add_point(m[j], m[j - 1], step);
      Doublable<L> d = doublable(p);
      double_times(d, 63);
      double_to_add(p, d);
    }
    make_affine(work_, z_, scratch_, kWork);
    uint64_t spare[12];
    for (size_t j = 0; j < kWork; ++j) {
      V v[12];
      pack(work_[j].y_plus_x, v);
      pack(work_[j].y_minus_x, v + 4);
      pack(work_[j].t, v + 8);
      uint64_t* rows[8];
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const bool wanted = lane < n && ((ok >> lane) & 1) != 0;
        rows[lane] = wanted
                         ? out[lane]->rows[j / PreparedKey::kMultiples][j % PreparedKey::kMultiples]
                         : spare;
      }
      L::template store_rows<12>(rows, v);
    }
    return static_cast<uint8_t>(ok & ((1u << n) - 1));
  }

 private:
  static constexpr size_t kWork = PreparedKey::kBases * PreparedKey::kMultiples;
  static constexpr size_t kKeyRows = 17;  // 0 to 16 times
  static constexpr size_t kRowWords = 20;

  // Lanes beyond the last item repeat it.
  static const VerifyItem& item_at(const VerifyItem* items, size_t n, size_t i) {
    return items[i < n ? i : n - 1];
  }
  template <typename F>
  static void transpose_words(V out[4], F words_of_lane) {
    const uint64_t* rows[8];
    for (size_t lane = 0; lane < kLanes; ++lane) rows[lane] = words_of_lane(lane);
    L::template load_rows<4>(rows, out);
  }
  // A lane without a point gets one that is on the curve: off it, Z could become 0, and one
  // inversion serves the whole lane.
  static void use_base_point_unless(uint8_t ok, Fe<L>& x, Fe<L>& y) {
    const auto m = L::from_bits(ok);
    x = select<L>(m, x, Fe<L>::constant(kBaseX));
    y = select<L>(m, y, Fe<L>::constant(kBaseY));
  }

  template <int N>
  void take_keys(const VerifyItem* items, size_t n, size_t g) {
    V words[N][4];
    for (int k = 0; k < N; ++k) {
      transpose_words(words[k],
                      [&](size_t lane) { return item_at(items, n, (g + k) * kLanes + lane).key; });
    }
    Decompressed<L, N> points;
    decompress<L, N>(words, points);
    for (int k = 0; k < N; ++k) {
      key_ok_[g + k] = L::to_bits(points.on_curve[k]);
      use_base_point_unless(key_ok_[g + k], points.x.e[k], points.y.e[k]);
      result_[g + k].x = negate(points.x.e[k]);
      result_[g + k].y = points.y.e[k];
    }
  }

  // Rows 0 to 16 of -A for every lane, each row's 20 limbs in a piece.
  void build_table(size_t g) {
    const Addable<L> p = addable_affine(result_[g].x, result_[g].y);
    const Niels<L> step{p.y_plus_x, p.y_minus_x, mul(p.t, Fe<L>::constant(k2D))};
    store_key_row(0, {Fe<L>::one(), Fe<L>::one(), Fe<L>::zero(), add(Fe<L>::one(), Fe<L>::one())});
    Addable<L> q = p;
    for (size_t j = 1;; ++j) {
      store_key_row(j, cache(q));
      if (j + 1 == kKeyRows) break;
      step_table(q, step);
    }
  }
  static __attribute__((noinline)) void step_table(Addable<L>& q, const Niels<L>& step) {
    add_point(q, q, step);
  }
  __attribute__((noinline)) void store_key_row(size_t j, const Cached<L>& c) {
    V v[kRowWords];
    const Fe<L>* parts[4] = {&c.y_plus_x, &c.y_minus_x, &c.t2d, &c.z2};
    for (size_t k = 0; k < kRowWords; ++k) v[k] = parts[k / 5]->v[k % 5];
    uint64_t* rows[8];
    for (size_t lane = 0; lane < kLanes; ++lane) rows[lane] = key_rows_[lane][j];
    L::template store_rows<kRowWords>(rows, v);
  }

  void multiply_any(const VerifyItem* items, size_t n, size_t g) {
    uint64_t h[kLanes][4], s[kLanes][4];
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const VerifyItem& it = item_at(items, n, g * kLanes + lane);
      add_words(it.h, kKeyOffset, h[lane]);
      add_words(it.s, kBaseOffset, s[lane]);
    }
    Doublable<L> acc;
    Addable<L> sum = addable_identity<L>();
    for (int i = kWindows - 1; i >= 0; --i) {
      if (i < kWindows - 1) {
        double_times(acc, kKeyWindow - 1);
        double_to_add(sum, acc);
      }
      const unsigned key_half = i == kWindows - 1 ? 0 : 1u << (kKeyWindow - 1);
      const uint64_t* rows[8];
      uint8_t negative = 0;
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const Digit d = signed_digit(window_at(h[lane], kKeyWindow * i, kKeyWindow), key_half);
        rows[lane] = key_rows_[lane][d.magnitude];
        negative = static_cast<uint8_t>(negative | unsigned{d.negative} << lane);
      }
      if (i % 2 != 0) {
        add_key(acc, sum, rows, negative);
        continue;
      }
      Addable<L> with_key;
      add_key(with_key, sum, rows, negative);
      const unsigned base_half = i == kWindows - 1 ? 0 : 1u << (kBaseWindow - 1);
      const BaseRow* base_rows[8];
      negative = 0;
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const Digit d = signed_digit(window_at(s[lane], kKeyWindow * i, kBaseWindow), base_half);
        base_rows[lane] = &base_.rows[0][d.magnitude];
        negative = static_cast<uint8_t>(negative | unsigned{d.negative} << lane);
      }
      add_base(acc, with_key, base_rows, negative);
    }
    result_[g] = acc;
  }

  template <class Out>
  static __attribute__((noinline)) void add_key(Out& out, const Addable<L>& p,
                                                const uint64_t* const rows[8], uint8_t negative) {
    V v[kRowWords];
    L::template load_rows<kRowWords>(rows, v);
    Cached<L> q{row_element<L>(v), row_element<L>(v + 5), row_element<L>(v + 10),
                row_element<L>(v + 15)};
    negate_where<L>(L::from_bits(negative), q.y_plus_x, q.y_minus_x, q.t2d);
    add_point(out, p, q);
  }
  template <class Out>
  static __attribute__((noinline)) void add_base(Out& out, const Addable<L>& p,
                                                 const BaseRow* const rows[8], uint8_t negative) {
    add_point(out, p, load_base<L>(rows, negative));
  }
  template <class Out>
  static __attribute__((noinline)) void add_prepared(Out& out, const Addable<L>& p,
                                                     const uint64_t* const rows[8],
                                                     uint8_t negative) {
    add_point(out, p, load_prepared<L>(rows, negative));
  }

  // What the main loop will read, by window, chunk of 64 bits, and lane. Two groups: the rows of
  // the next one are asked for while one is worked on.
  struct Rows {
    const uint64_t* key[kChunkWindows][4][kLanes];
    const BaseRow* base[kChunkWindows / 2 + 1][4][kLanes];
    uint8_t key_negative[kChunkWindows][4];
    uint8_t base_negative[kChunkWindows / 2 + 1][4];
  };

  void choose_rows(const VerifyItem* items, size_t n, size_t g) {
    alignas(64) static constexpr uint64_t kIdentity[12] = {1, 0, 0, 0, 1};
    Rows& r = rows_[g % 2];
    std::memset(r.key_negative, 0, sizeof r.key_negative);
    std::memset(r.base_negative, 0, sizeof r.base_negative);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const VerifyItem& it = item_at(items, n, g * kLanes + lane);
      for (int c = 0; c < 4; ++c) {
        const uint64_t h = (it.h[c] & kLow60) + kChunkKeyOffset;
        const uint64_t s = (it.s[c] & kLow60) + kChunkBaseOffset;
        for (int i = 0; i < kChunkWindows; ++i) {
          const Digit d = i == kChunkWindows - 1
                              ? signed_digit(unsigned((it.h[c] >> 60) + (h >> 60)), 0)
                              : signed_digit(unsigned(h >> (kKeyWindow * i)) & 31, 16);
          r.key[i][c][lane] = d.magnitude == 0 ? kIdentity : it.prepared->rows[c][d.magnitude - 1];
          r.key_negative[i][c] =
              static_cast<uint8_t>(r.key_negative[i][c] | unsigned{d.negative} << lane);
        }
        for (int j = 0; j <= kChunkWindows / 2; ++j) {
          const Digit d = j == kChunkWindows / 2
                              ? signed_digit(unsigned((it.s[c] >> 60) + (s >> 60)), 0)
                              : signed_digit(unsigned(s >> (kBaseWindow * j)) & 1023, 512);
          r.base[j][c][lane] = &base_.rows[c][d.magnitude];
          r.base_negative[j][c] =
              static_cast<uint8_t>(r.base_negative[j][c] | unsigned{d.negative} << lane);
        }
      }
    }
  }

  void prefetch(size_t g, int window) {
    for (const auto& lanes : rows_[g % 2].key[window]) {
      for (const uint64_t* row : lanes) {
        __builtin_prefetch(row);
        __builtin_prefetch(row + 11);
      }
    }
  }

  void multiply_prepared(size_t g, bool more) {
    const Rows& r = rows_[g % 2];
    Doublable<L> acc;
    Addable<L> sum = addable_identity<L>();
    for (int i = kChunkWindows - 1; i >= 0; --i) {
      // Two windows ahead: some 2 us before they are read.
      if (i >= 2) {
        prefetch(g, i - 2);
      } else if (more) {
        prefetch(g + 1, kChunkWindows - 2 + i);
      }
      if (i < kChunkWindows - 1) {
        double_times(acc, kKeyWindow - 1);
        double_to_add(sum, acc);
      }
      if (i % 2 == 0) {
        for (int c = 0; c < 4; ++c) add_base(sum, sum, r.base[i / 2][c], r.base_negative[i / 2][c]);
      }
      for (int c = 0; c < 3; ++c) add_prepared(sum, sum, r.key[i][c], r.key_negative[i][c]);
      add_prepared(acc, sum, r.key[i][3], r.key_negative[i][3]);
    }
    result_[g] = acc;
  }

  uint64_t compare(const VerifyItem* items, size_t n) {
    const size_t groups = (n + kLanes - 1) / kLanes;
    for (size_t g = 0; g < groups; ++g) z_[g] = result_[g].z;
    invert_all(z_, scratch_, groups);
    uint64_t good = 0;
    for (size_t g = 0; g < groups; ++g) {
      const Fe<L> x = freeze(mul(result_[g].x, z_[g]));
      V mine[4], theirs[4];
      pack(freeze(mul(result_[g].y, z_[g])), mine);
      mine[3] = L::bor(mine[3], L::shl(L::band(x.v[0], L::all(1)), 63));
      transpose_words(theirs, [&](size_t lane) { return item_at(items, n, g * kLanes + lane).r; });
      auto m = L::from_bits(key_ok_[g]);
      for (int k = 0; k < 4; ++k) m = L::both(m, L::equal(mine[k], theirs[k]));
      good |= uint64_t{L::to_bits(m)} << (g * kLanes);
    }
    return n < 64 ? good & ((uint64_t{1} << n) - 1) : good;
  }

  const BaseTable& base_;
  alignas(64) uint64_t key_rows_[kLanes][kKeyRows][kRowWords];
  Doublable<L> result_[kMaxGroups];
  uint8_t key_ok_[kMaxGroups];
  Rows rows_[2];
  Addable<L> work_[kWork];
  Fe<L> z_[kWork], scratch_[kWork];
};

}  // namespace sluice::crypto::lanes
