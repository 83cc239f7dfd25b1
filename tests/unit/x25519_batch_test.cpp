// X25519 in batches against published vectors and libsodium, on every path that this CPU runs.
#include "crypto/x25519_batch.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <random>

#include "engines.h"
#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::hex;
using vectors::unhex_array;

struct Product {
  Key256 scalar;
  ByteArray<32> u{}, expected{};
};

// Runs them in one batch.
void expect_products(std::vector<Product>& all, const lanes::Engine* engine) {
  std::vector<Key256> out(all.size());
  std::vector<X25519Job> jobs;
  for (size_t i = 0; i < all.size(); ++i) jobs.push_back({&all[i].scalar, &all[i].u, &out[i]});
  x25519_batch(jobs, engine);
  for (size_t i = 0; i < all.size(); ++i) {
    ASSERT_EQ(hex(out[i].view()), hex(all[i].expected)) << i;
    ASSERT_EQ(jobs[i].good, !all_zero(all[i].expected)) << i;
  }
}

class X25519Batch : public testing::TestWithParam<const lanes::Engine*> {};

INSTANTIATE_TEST_SUITE_P(On, X25519Batch, testing::ValuesIn(engines::all()), engines::name);

TEST_P(X25519Batch, PublishedVectors) {
  ASSERT_TRUE(kReady);
  std::vector<Product> all;
  for (const auto& v : rfc::kX25519) {
    all.push_back(
        {Key256(unhex_array<32>(v.scalar)), unhex_array<32>(v.u), unhex_array<32>(v.out)});
  }
  if (vectors::present()) {
    const auto file = vectors::load("wycheproof_x25519_test.json");
    for (const auto& group : file.at("testGroups")) {
      for (const auto& t : group.at("tests")) {
        const auto array = [&t](const char* name) {
          return unhex_array<32>(t.at(name).get<std::string>());
        };
        all.push_back({Key256(array("private")), array("public"), array("shared")});
      }
    }
    ASSERT_GE(all.size(), 500u);
  }
  expect_products(all, GetParam());
}

TEST_P(X25519Batch, RandomProductsAgreeWithLibsodium) {
  std::mt19937_64 random(3);
  const size_t count = engines::is_portable(GetParam()) ? 200 : 4000;
  std::vector<Product> all;
  for (size_t i = 0; i < count; ++i) {
    Product p;
    for (size_t k = 0; k < 32; ++k) p.scalar.data()[k] = static_cast<uint8_t>(random());
    for (auto& b : p.u) b = static_cast<uint8_t>(random());
    if (i % 10 == 0) p.u.fill(0xff), p.u[0] = static_cast<uint8_t>(random());  // spellings beyond p
    if (i % 11 == 0) p.u = {static_cast<uint8_t>(random() % 16)};
    if (i % 7 == 0) std::memset(p.scalar.data(), i % 2 == 0 ? 0xff : 0x00, 32);
    if (crypto_scalarmult(p.expected.data(), p.scalar.data(), p.u.data()) != 0) p.expected = {};
    all.push_back(std::move(p));
  }
  expect_products(all, GetParam());
}

// Low-order points in some lanes leave the others as they are.
TEST_P(X25519Batch, LowOrderPointsSpoilTheirLaneOnly) {
  const char* low[] = {"0000000000000000000000000000000000000000000000000000000000000000",
                       "0100000000000000000000000000000000000000000000000000000000000000",
                       "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                       "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"};
  for (unsigned pattern = 0; pattern < 256; pattern += 5) {
    std::vector<Product> all;
    for (unsigned i = 0; i < 8; ++i) {
      Product p;
      randombytes_buf(p.scalar.data(), 32);
      if (((pattern >> i) & 1) != 0) {
        p.u = unhex_array<32>(low[i % 4]);
      } else {
        randombytes_buf(p.u.data(), 32);
        ASSERT_EQ(crypto_scalarmult(p.expected.data(), p.scalar.data(), p.u.data()), 0);
      }
      all.push_back(std::move(p));
    }
    expect_products(all, GetParam());
    if (engines::is_portable(GetParam())) pattern += 60;
  }
}

// Fixed base: random scalars and those whose digits are all at an end of their range.
TEST_P(X25519Batch, PublicKeysAgreeWithLibsodium) {
  std::mt19937_64 random(4);
  std::vector<X25519KeyPair> pairs(engines::is_portable(GetParam()) ? 150 : 1500);
  for (size_t i = 0; i < pairs.size(); ++i) {
    for (size_t k = 0; k < 32; ++k) {
      const uint8_t ends[] = {0x00, 0x77, 0x78, 0x87, 0x88, 0xff, 0x80, 0x08};
      const auto r = random();
      pairs[i].secret.data()[k] = i % 3 == 0   ? ends[i / 3 % 8]
                                  : i % 3 == 1 ? ends[r % 8]
                                               : static_cast<uint8_t>(r);
    }
  }
  x25519_public_keys(pairs, GetParam());
  for (size_t i = 0; i < pairs.size(); ++i) {
    ByteArray<32> expected;
    crypto_scalarmult_base(expected.data(), pairs[i].secret.data());
    ASSERT_EQ(hex(pairs[i].public_key), hex(expected)) << i;
  }
}

TEST_P(X25519Batch, EverySizeIsCountedAndAgrees) {
  for (size_t n = 0; n <= 17; ++n) {
    std::vector<X25519KeyPair> a(n), b(n);
    const uint64_t before = x25519_operations();
    x25519_generate(a, GetParam());
    x25519_generate(b, GetParam());
    std::vector<Key256> ab(n), ba(n);
    std::vector<X25519Job> jobs;
    for (size_t i = 0; i < n; ++i) {
      jobs.push_back({&a[i].secret, &b[i].public_key, &ab[i]});
      jobs.push_back({&b[i].secret, &a[i].public_key, &ba[i]});
    }
    x25519_batch(jobs, GetParam());
    EXPECT_EQ(x25519_operations() - before, 4 * n);
    for (size_t i = 0; i < n; ++i) {
      EXPECT_TRUE(equal_secret(ab[i].view(), ba[i].view()));
      EXPECT_FALSE(all_zero(ab[i].view()));
      for (size_t k = 0; k < i; ++k) EXPECT_NE(a[i].public_key, a[k].public_key);
    }
  }
}

}  // namespace
}  // namespace sluice::crypto
