// X25519 against RFC 7748 and Wycheproof, and the life of the secrets that it works on.
#include "crypto/x25519.h"

#include <gtest/gtest.h>

#include <type_traits>
#include <utility>

#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::hex;
using vectors::unhex_array;

struct Agreement {
  std::string name;
  ByteArray<32> scalar, peer, shared;
};

std::vector<Agreement> agreements(const std::string& source) {
  std::vector<Agreement> out;
  if (source == vectors::kRfc) {
    for (const auto& v : rfc::kX25519) {
      out.push_back(
          {v.name, unhex_array<32>(v.scalar), unhex_array<32>(v.u), unhex_array<32>(v.out)});
    }
    return out;
  }
  const auto file = vectors::load(source);
  for (const auto& group : file.at("testGroups")) {
    for (const auto& t : group.at("tests")) {
      const auto array = [&t](const char* name) {
        return unhex_array<32>(t.at(name).get<std::string>());
      };
      out.push_back(
          {"tcId " + t.at("tcId").dump(), array("private"), array("public"), array("shared")});
    }
  }
  return out;
}

class X25519Vectors : public testing::TestWithParam<std::string> {};

// "acceptable" vectors are points on the twist, other spellings and points of low order. The first
// two give the published result; low order, told by an all-zero result, must be refused.
TEST_P(X25519Vectors, AgreeAsPublished) {
  ASSERT_TRUE(kReady);
  const bool rfc_only = GetParam() == vectors::kRfc;
  const auto all = agreements(GetParam());
  ASSERT_GE(all.size(), rfc_only ? 2u : 500u);
  size_t refused = 0;
  for (const Agreement& v : all) {
    SCOPED_TRACE(v.name);
    Key256 out;
    const bool ok = x25519(Key256(v.scalar), v.peer, out);
    if (all_zero(v.shared)) {
      ++refused;
      EXPECT_FALSE(ok);
    } else {
      EXPECT_TRUE(ok);
      EXPECT_EQ(hex(out.view()), hex(v.shared));
    }
  }
  if (!rfc_only) {
    EXPECT_GE(refused, 30u);
  }
  std::printf("%s: %zu vectors run, %zu of them of low order\n", GetParam().c_str(), all.size(),
              refused);
}

INSTANTIATE_TEST_SUITE_P(Published, X25519Vectors,
                         testing::ValuesIn(vectors::sources("wycheproof_x25519_test.json")),
                         vectors::source_name);

TEST(X25519, IteratedAsInRfc7748) {
  ByteArray<32> k{9}, u{9};
  for (int i = 1; i <= 1000; ++i) {
    Key256 out;
    ASSERT_TRUE(x25519(Key256(k), u, out));
    u = k;
    k = take<32>(out.data());
    if (i == 1) {
      EXPECT_EQ(hex(k), rfc::kX25519After1);
    }
  }
  EXPECT_EQ(hex(k), rfc::kX25519After1000);
}

TEST(X25519, SmallOrderPointsAreRefused) {
  const char* points[] = {
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "0000000000000000000000000000000000000000000000000000000000000080",
  };
  const auto pair = X25519KeyPair::generate();
  for (const char* p : points) {
    Key256 out;
    EXPECT_FALSE(x25519(pair.secret, unhex_array<32>(p), out)) << p;
  }
}

TEST(X25519, KeyPairsAgreeAndAreCounted) {
  const uint64_t before = x25519_operations();
  const auto a = X25519KeyPair::generate();
  const auto b = X25519KeyPair::generate();
  EXPECT_NE(a.public_key, b.public_key);
  Key256 ab, ba;
  ASSERT_TRUE(x25519(a.secret, b.public_key, ab));
  ASSERT_TRUE(x25519(b.secret, a.public_key, ba));
  EXPECT_TRUE(equal_secret(ab.view(), ba.view()));
  EXPECT_EQ(x25519_operations() - before, 4u);
  const auto copy = a.clone();
  EXPECT_EQ(copy.public_key, a.public_key);
  EXPECT_TRUE(equal_secret(copy.secret.view(), a.secret.view()));
  const auto again = X25519KeyPair::from_secret(a.secret);
  EXPECT_EQ(again.public_key, a.public_key);
}

template <typename T>
concept Printable = requires(std::ostream& o, const T& t) {
  o << t;
};
template <typename T>
concept Comparable = requires(const T& a, const T& b) {
  a == b;
};

static_assert(!std::is_copy_constructible_v<Key256> && !std::is_copy_assignable_v<Key256>);
static_assert(std::is_nothrow_move_constructible_v<Key256>);
static_assert(!std::is_copy_constructible_v<X25519KeyPair>);
static_assert(!Comparable<Key256> && !Printable<Key256>);

TEST(Secret, WipedWhenMovedClearedAndDestroyed) {
  ByteArray<32> value;
  value.fill(0x5a);
  Key256 a(value);
  Key256 b(std::move(a));
  EXPECT_TRUE(all_zero(a.view()));  // NOLINT(bugprone-use-after-move): what is under test
  EXPECT_EQ(hex(b.view()), hex(value));
  Key256 c;
  EXPECT_TRUE(all_zero(c.view()));
  c = std::move(b);
  EXPECT_TRUE(all_zero(b.view()));  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(hex(c.view()), hex(value));
  Key256& self = c;
  c = std::move(self);
  EXPECT_EQ(hex(c.view()), hex(value)) << "a move onto itself keeps the key";
  const Key256 d = c.clone();
  c.clear();
  EXPECT_TRUE(all_zero(c.view()));
  EXPECT_EQ(hex(d.view()), hex(value));

  X25519KeyPair from = X25519KeyPair::generate();
  const X25519KeyPair to = std::move(from);
  EXPECT_TRUE(all_zero(from.secret.view()));  // NOLINT(bugprone-use-after-move)
  EXPECT_FALSE(all_zero(to.secret.view()));

  // Destroyed in storage that outlives the object.
  alignas(Key256) uint8_t storage[sizeof(Key256)];
  auto* placed = new (storage) Key256(value);
  const volatile uint8_t* bytes = storage;
  EXPECT_EQ(bytes[0], 0x5a);
  placed->~Key256();
  uint8_t left = 0;
  for (size_t i = 0; i < sizeof storage; ++i) left |= bytes[i];
  EXPECT_EQ(left, 0);
}

TEST(Secret, EqualSecretComparesLengthAndEveryByte) {
  Buffer a(40, 7);
  for (size_t i = 0; i < a.size(); ++i) {
    Buffer b = a;
    EXPECT_TRUE(equal_secret(a, b));
    b[i] ^= 0x80;
    EXPECT_FALSE(equal_secret(a, b)) << i;
  }
  EXPECT_FALSE(equal_secret(a, Bytes(a).first(39)));
  EXPECT_TRUE(equal_secret({}, {}));
}

}  // namespace
}  // namespace sluice::crypto
