// Field arithmetic of the lanes against OpenSSL's big integers, at random and at the bounds that
// field.h states: limbs at their maxima, values at 0, p and 2^255.
#include <gtest/gtest.h>
#include <openssl/bn.h>

#include <memory>
#include <random>

#include "crypto/batch_engine.h"
#include "crypto/lanes/base_table.h"
#include "field_probe.h"

namespace sluice::crypto::lanes {
namespace {

struct FreeBn {
  void operator()(BIGNUM* b) const { BN_free(b); }
  void operator()(BN_CTX* c) const { BN_CTX_free(c); }
};
using Bn = std::unique_ptr<BIGNUM, FreeBn>;

BN_CTX* context() {
  static const std::unique_ptr<BN_CTX, FreeBn> c(BN_CTX_new());
  return c.get();
}
Bn bn(uint64_t v = 0) {
  Bn b(BN_new());
  BN_set_word(b.get(), v);
  return b;
}
const Bn& prime() {
  static const Bn p = [] {
    Bn b = bn(1);
    BN_lshift(b.get(), b.get(), 255);
    BN_sub_word(b.get(), 19);
    return b;
  }();
  return p;
}

// Eight elements, limb by limb.
struct Element {
  uint64_t v[5][8];
};
// The sum of limbs, modulo p.
Bn value(const Element& e, int lane) {
  Bn sum = bn();
  for (int i = 4; i >= 0; --i) {
    BN_lshift(sum.get(), sum.get(), 51);
    const Bn limb = bn(e.v[i][lane]);
    BN_add(sum.get(), sum.get(), limb.get());
  }
  BN_nnmod(sum.get(), sum.get(), prime().get(), context());
  return sum;
}

constexpr uint64_t kTight = (uint64_t{1} << 51) + (uint64_t{1} << 17) - 1;
constexpr uint64_t kProduct = (uint64_t{1} << 59) - 1;
// kBias is 608 p.
constexpr uint64_t kBiased = kProduct + (uint64_t{608} << 51);
constexpr uint64_t kWide = (uint64_t{1} << 63) - 1;

std::vector<const FieldProbe*> probes() {
  std::vector<const FieldProbe*> out{&field_probe_portable()};
  if (ifma_engine_here() != nullptr) out.push_back(&field_probe_ifma());
  return out;
}

class Field : public testing::TestWithParam<const FieldProbe*> {
 protected:
  // Limbs at random, at the bound, at zero, and in the neighbourhood of p.
  Element element(uint64_t bound) {
    Element e;
    for (int lane = 0; lane < 8; ++lane) {
      const auto shape = random_() % 6;
      for (int i = 0; i < 5; ++i) {
        const uint64_t near_p = (uint64_t{1} << 51) - 1;
        uint64_t x = random_() % (bound + 1);
        if (shape == 0) x = bound;
        if (shape == 1) x = random_() % 2 == 0 ? bound : 0;
        if (shape == 2) x = i == 0 ? near_p - 18 + random_() % 40 : near_p;
        if (shape == 3) x = i == 0 ? random_() % 40 : 0;
        e.v[i][lane] = std::min(x, bound);
      }
    }
    return e;
  }
  template <typename Combine>
  void expect(const Element& got, uint64_t bound, Combine combine, const char* what) {
    for (int lane = 0; lane < 8; ++lane) {
      const Bn wanted = combine(lane);
      ASSERT_EQ(BN_cmp(value(got, lane).get(), wanted.get()), 0) << what << " lane " << lane;
      for (const auto& limb : got.v) ASSERT_LE(limb[lane], bound) << what << " lane " << lane;
    }
  }
  static constexpr int kRounds = 3000;
  std::mt19937_64 random_{1};
  const FieldProbe& p_ = *GetParam();
};

INSTANTIATE_TEST_SUITE_P(On, Field, testing::ValuesIn(probes()),
                         [](const testing::TestParamInfo<const FieldProbe*>& probe) {
                           return std::string(probe.param->name);
                         });

Bn mod_mul(const Bn& a, const Bn& b) {
  Bn r = bn();
  BN_mod_mul(r.get(), a.get(), b.get(), prime().get(), context());
  return r;
}

TEST_P(Field, ProductsAndSquares) {
  for (int round = 0; round < kRounds; ++round) {
    const Element a = element(kTight), b = element(kTight);
    Element out;
    p_.product(a.v, b.v, out.v);
    expect(
        out, kProduct, [&](int l) { return mod_mul(value(a, l), value(b, l)); }, "product");
    // At least the bias, so that another product can be taken off.
    const auto above_bias = [&out] {
      for (int i = 0; i < 5; ++i) {
        for (const uint64_t limb : out.v[i]) ASSERT_GE(limb, kBias.v[i]);
      }
    };
    p_.biased_product(a.v, b.v, out.v);
    expect(
        out, kBiased, [&](int l) { return mod_mul(value(a, l), value(b, l)); }, "from bias");
    above_bias();
    p_.biased_square(a.v, out.v);
    expect(
        out, kBiased, [&](int l) { return mod_mul(value(a, l), value(a, l)); }, "from bias");
    above_bias();
    p_.square(a.v, out.v);
    expect(
        out, kProduct, [&](int l) { return mod_mul(value(a, l), value(a, l)); }, "square");
  }
}

TEST_P(Field, CarriesSumsAndDifferences) {
  for (int round = 0; round < kRounds; ++round) {
    Element out;
    const Element wide = element(kWide);
    p_.carry(wide.v, out.v);
    expect(
        out, kTight, [&](int l) { return value(wide, l); }, "carry");

    const Element a = element(kTight), b = element(kTight);
    const auto difference = [&](const Element& x, const Element& y) {
      return [&x, &y](int l) {
        Bn r = bn();
        BN_mod_sub(r.get(), value(x, l).get(), value(y, l).get(), prime().get(), context());
        return r;
      };
    };
    p_.sub(a.v, b.v, out.v);
    expect(out, kTight, difference(a, b), "sub");
    const Element x = element(kProduct), y = element(kProduct);
    p_.minus(x.v, y.v, out.v);
    expect(out, kBiased, difference(x, y), "minus");

    p_.plus_121665_times(x.v, b.v, out.v);
    expect(
        out, kWide,
        [&](int l) {
          Bn r = mod_mul(value(b, l), bn(121665));
          BN_mod_add(r.get(), r.get(), value(x, l).get(), prime().get(), context());
          return r;
        },
        "plus_times");
  }
}

TEST_P(Field, OneRepresentative) {
  for (int round = 0; round < kRounds; ++round) {
    const Element a = element(kTight);
    Element out;
    p_.freeze(a.v, out.v);
    for (int lane = 0; lane < 8; ++lane) {
      // value() reduces, so it is compared with the plain sum of the limbs.
      Bn sum = bn();
      for (int i = 4; i >= 0; --i) {
        BN_lshift(sum.get(), sum.get(), 51);
        const Bn limb = bn(out.v[i][lane]);
        BN_add(sum.get(), sum.get(), limb.get());
        ASSERT_LT(out.v[i][lane], uint64_t{1} << 51);
      }
      ASSERT_EQ(BN_cmp(sum.get(), value(a, lane).get()), 0) << lane;
    }
  }
}

TEST_P(Field, InversesAndPowers) {
  Bn e58 = bn();  // (p - 5) / 8
  BN_copy(e58.get(), prime().get());
  BN_sub_word(e58.get(), 5);
  BN_rshift(e58.get(), e58.get(), 3);
  for (int round = 0; round < 40; ++round) {
    const Element a = element(kTight);
    Element out;
    p_.invert(a.v, out.v);
    expect(
        out, kTight,
        [&](int l) {
          const Bn v = value(a, l);
          Bn r = bn();
          if (!BN_is_zero(v.get())) BN_mod_inverse(r.get(), v.get(), prime().get(), context());
          return r;
        },
        "invert");
    p_.power_p58(a.v, out.v);
    expect(
        out, kTight,
        [&](int l) {
          Bn r = bn();
          BN_mod_exp(r.get(), value(a, l).get(), e58.get(), prime().get(), context());
          return r;
        },
        "power");
  }
}

TEST_P(Field, WordsRoundTripModuloP) {
  for (int round = 0; round < kRounds; ++round) {
    uint64_t in[4][8], out[4][8];
    for (int lane = 0; lane < 8; ++lane) {
      const bool high = random_() % 3 == 0;
      for (int k = 0; k < 4; ++k) in[k][lane] = high ? ~uint64_t{0} : random_();
      if (high) in[0][lane] -= random_() % 30;
    }
    p_.words(in, out);
    for (int lane = 0; lane < 8; ++lane) {
      const auto number = [&](const uint64_t(&w)[4][8]) {
        Bn sum = bn();
        for (int k = 3; k >= 0; --k) {
          BN_lshift(sum.get(), sum.get(), 64);
          const Bn word = bn(w[k][lane]);
          BN_add(sum.get(), sum.get(), word.get());
        }
        return sum;
      };
      Bn wanted = number(in);
      BN_mask_bits(wanted.get(), 255);
      BN_nnmod(wanted.get(), wanted.get(), prime().get(), context());
      ASSERT_EQ(BN_cmp(number(out).get(), wanted.get()), 0);
    }
  }
}

// The curve's constants, derived again.
TEST(CurveConstants, FollowFromTheirDefinitions) {
  const auto of = [](const Limbs& c) {
    Element e{};
    for (int i = 0; i < 5; ++i) e.v[i][0] = c.v[i];
    return value(e, 0);
  };
  const Bn d = of(kD), one = bn(1);
  const Bn product = mod_mul(d, bn(121666));  // d = -121665 / 121666
  Bn sum = bn(121665);
  BN_mod_add(sum.get(), sum.get(), product.get(), prime().get(), context());
  EXPECT_TRUE(BN_is_zero(sum.get()));
  EXPECT_EQ(BN_cmp(of(k2D).get(), mod_mul(d, bn(2)).get()), 0);
  Bn root = mod_mul(of(kSqrtM1), of(kSqrtM1));
  BN_add_word(root.get(), 1);
  EXPECT_EQ(BN_cmp(root.get(), prime().get()), 0);
  // y = 4 / 5, and -x^2 + y^2 = 1 + d x^2 y^2.
  const Bn x = of(kBaseX), y = of(kBaseY);
  EXPECT_TRUE(BN_is_word(mod_mul(y, bn(5)).get(), 4));
  EXPECT_FALSE(BN_is_odd(x.get()));
  const Bn x2 = mod_mul(x, x), y2 = mod_mul(y, y);
  Bn left = bn(), right = mod_mul(mod_mul(d, x2), y2);
  BN_mod_sub(left.get(), y2.get(), x2.get(), prime().get(), context());
  BN_add_word(right.get(), 1);
  EXPECT_EQ(BN_cmp(left.get(), right.get()), 0);
}

}  // namespace
}  // namespace sluice::crypto::lanes
