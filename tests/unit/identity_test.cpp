// Ed25519 identities: RFC 8032, Wycheproof, the verification rule's corners, labels, did:key.
#include "crypto/identity.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "crypto/text.h"
#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::hex;
using vectors::unhex;
using vectors::unhex_array;

struct SignatureVector {
  std::string name;
  PublicKey key;
  Buffer message, signature;
  bool valid;
};

// "acceptable" would be judged by its flags; the rule (docs/protocol.md, signatures) is stricter
// than every such case, so they count as invalid.
std::vector<SignatureVector> signature_vectors(const std::string& source) {
  std::vector<SignatureVector> out;
  if (source == vectors::kRfc) {
    for (const auto& v : rfc::kEd25519) {
      out.push_back({v.name, unhex_array<32>(v.key), unhex(v.message), unhex(v.signature), true});
    }
    return out;
  }
  const auto file = vectors::load(source);
  for (const auto& group : file.at("testGroups")) {
    const auto key = unhex_array<32>(group.at("publicKey").at("pk").get<std::string>());
    for (const auto& t : group.at("tests")) {
      out.push_back({"tcId " + t.at("tcId").dump(), key, vectors::field(t, "msg"),
                     vectors::field(t, "sig"), t.at("result") == "valid"});
    }
  }
  return out;
}

class IdentityVectors : public testing::TestWithParam<std::string> {};

TEST_P(IdentityVectors, VerifyAsPublished) {
  ASSERT_TRUE(kReady);
  const bool rfc_only = GetParam() == vectors::kRfc;
  const auto all = signature_vectors(GetParam());
  size_t run = 0, valid = 0, other_size = 0;
  for (const auto& v : all) {
    SCOPED_TRACE(v.name);
    if (v.signature.size() != 64) {
      ++other_size;  // cannot be expressed: a Signature is 64 bytes by type
      EXPECT_FALSE(v.valid);
      continue;
    }
    ++run;
    if (v.valid) ++valid;
    EXPECT_EQ(verify_raw(v.key, v.message, take<64>(v.signature.data())), v.valid);
  }
  EXPECT_GE(run, rfc_only ? 5u : 130u);
  EXPECT_GE(valid, rfc_only ? 5u : 80u);
  std::printf("%s: %zu vectors run, %zu not applicable (signature of another size)\n",
              GetParam().c_str(), run, other_size);
}

INSTANTIATE_TEST_SUITE_P(Published, IdentityVectors,
                         testing::ValuesIn(vectors::sources("wycheproof_ed25519_test.json")),
                         vectors::source_name);

TEST(Identity, KeysFromSeedAsInRfc8032) {
  for (const auto& v : rfc::kEd25519) {
    SCOPED_TRACE(v.name);
    const auto id = Identity::from_seed(Key256(unhex_array<32>(v.seed)));
    EXPECT_EQ(hex(id.public_key()), v.key);
    EXPECT_EQ(hex(id.seed().view()), v.seed);
    EXPECT_TRUE(acceptable_identity(id.public_key()));
  }
}

// Every bit of key and signature, and every bit of a short message, decides.
TEST(Identity, ChangedBitsAreRefused) {
  const auto& v = rfc::kEd25519[2];
  const auto key = unhex_array<32>(v.key);
  const auto signature = unhex_array<64>(v.signature);
  const Buffer message = unhex(v.message);
  ASSERT_TRUE(verify_raw(key, message, signature));
  for (size_t bit = 0; bit < 512; ++bit) {
    Signature s = signature;
    s[bit / 8] ^= uint8_t(1u << bit % 8);
    EXPECT_FALSE(verify_raw(key, message, s)) << bit;
  }
  for (size_t bit = 0; bit < 256; ++bit) {
    PublicKey k = key;
    k[bit / 8] ^= uint8_t(1u << bit % 8);
    EXPECT_FALSE(verify_raw(k, message, signature)) << bit;
  }
  for (size_t bit = 0; bit < 16; ++bit) {
    Buffer m = message;
    m[bit / 8] ^= uint8_t(1u << bit % 8);
    EXPECT_FALSE(verify_raw(key, m, signature)) << bit;
  }
}

// S + L is the same scalar: the second spelling of a signature must be refused.
TEST(Identity, MalleatedScalarIsRefused) {
  const auto order = unhex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  for (const auto& v : rfc::kEd25519) {
    auto s = unhex_array<64>(v.signature);
    unsigned carry = 0;
    for (size_t i = 0; i < 32; ++i) {
      carry += unsigned{s[32 + i]} + order[i];
      s[32 + i] = uint8_t(carry);
      carry >>= 8;
    }
    ASSERT_EQ(carry, 0u);
    EXPECT_FALSE(verify_raw(unhex_array<32>(v.key), unhex(v.message), s)) << v.name;
  }
}

// All points of small order and their non-canonical spellings. With A of small order, R = [S]B
// would verify for many messages.
TEST(Identity, SmallOrderAndNonCanonicalKeysAreRefused) {
  const char* keys[] = {
      "0100000000000000000000000000000000000000000000000000000000000000",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
      "0100000000000000000000000000000000000000000000000000000000000080",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  };
  for (const char* k : keys) {
    const auto key = unhex_array<32>(k);
    EXPECT_FALSE(acceptable_identity(key)) << k;
    // S = 0 and R = the neutral element satisfy the equation whenever [h]A is neutral.
    Signature zero{};
    zero[0] = 1;
    for (uint8_t m = 0; m < 16; ++m) EXPECT_FALSE(verify_raw(key, {&m, 1}, zero)) << k;
    // And R of small order under a good key.
    const auto good = Identity::generate();
    Signature s = good.sign(kLabelHello, {});
    std::copy(key.begin(), key.end(), s.begin());
    EXPECT_FALSE(verify(good.public_key(), kLabelHello, {}, s)) << k;
  }
  // Not on the curve.
  EXPECT_FALSE(acceptable_identity(
      unhex_array<32>("0200000000000000000000000000000000000000000000000000000000000000")));
  // On the curve, canonical, of order 8 L: a good key plus a point of order 8, so not in the
  // prime-order subgroup (computed from the curve equation, independent of the library).
  EXPECT_FALSE(acceptable_identity(
      unhex_array<32>("3b5b475c4b82dd1572799fc546f4c6c03e478c6654aa4c7f945b347ea32af60d")));
}

TEST(Identity, LabelsArePaddedTo32Bytes) {
  const std::pair<const Label*, const char*> labels[] = {
      {&kLabelHello, "736c756963652d68656c6c6f2f31000000000000000000000000000000000000"},
      {&kLabelCall, "736c756963652d63616c6c2f3100000000000000000000000000000000000000"},
      {&kLabelAccept, "736c756963652d6163636570742f310000000000000000000000000000000000"},
      {&kLabelStatement, "736c756963652d73746174656d656e742f310000000000000000000000000000"},
  };
  const auto id = Identity::from_seed(Key256(unhex_array<32>(rfc::kEd25519[0].seed)));
  for (const auto& [label, bytes] : labels) {
    EXPECT_EQ(hex(*label), bytes);
    const Signature s = id.sign(*label, {as_bytes("ab"), as_bytes("c")});
    // Over the label, then the parts one after another.
    Buffer message = unhex(bytes);
    for (char c : std::string_view("abc")) message.push_back(uint8_t(c));
    EXPECT_TRUE(verify_raw(id.public_key(), message, s));
    EXPECT_TRUE(verify(id.public_key(), *label, {as_bytes("abc")}, s));
    EXPECT_FALSE(verify(id.public_key(), *label, {as_bytes("abd")}, s));
    for (const auto& [other, unused] : labels) {
      EXPECT_EQ(verify(id.public_key(), *other, {as_bytes("abc")}, s), other == label);
    }
  }
}

TEST(Identity, GeneratedOnesDifferAndComeBackFromTheirSeed) {
  const auto a = Identity::generate();
  const auto b = Identity::generate();
  EXPECT_NE(a.public_key(), b.public_key());
  EXPECT_EQ(Identity::from_seed(a.seed()).public_key(), a.public_key());
}

TEST(Did, KnownAnswers) {
  for (const auto& v : rfc::kDid) {
    EXPECT_EQ(to_did(unhex_array<32>(v.key)), v.did);
    const auto key = parse_did(v.did);
    ASSERT_TRUE(key) << v.did;
    EXPECT_EQ(hex(*key), v.key);
  }
}

TEST(Did, RoundTrips) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 2000; ++i) {
    PublicKey key;
    for (auto& b : key) b = uint8_t(random());
    const std::string text = to_did(key);
    EXPECT_TRUE(text.starts_with("did:key:z6Mk")) << text;
    EXPECT_EQ(parse_did(text), key);
  }
  PublicKey edge{};
  EXPECT_EQ(parse_did(to_did(edge)), edge);
  edge.fill(0xff);
  EXPECT_EQ(parse_did(to_did(edge)), edge);
}

TEST(Did, OnlyOneSpelling) {
  const std::string good = rfc::kDid[0].did;
  ASSERT_TRUE(parse_did(good));
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_did(good.substr(0, n))) << n;
  for (const char* before : {" ", "1", "z", "\t"}) EXPECT_FALSE(parse_did(before + good));
  for (const char* after : {" ", "\n", "1", "#", "#z6Mk", "?x", "/"}) {
    EXPECT_FALSE(parse_did(good + after)) << after;
  }
  EXPECT_FALSE(parse_did(good + std::string(1, '\0')));
  EXPECT_FALSE(parse_did("DID:key:" + good.substr(8)));
  EXPECT_FALSE(parse_did("did:web:" + good.substr(8)));
  EXPECT_FALSE(parse_did("did:key:Z" + good.substr(9)));
  EXPECT_FALSE(parse_did("did:key:z1" + good.substr(9))) << "a leading zero byte";
  // Another multibase, another codec (X25519 0xec01, secp256k1 0xe701), another length.
  const auto key = unhex(rfc::kDid[0].key);
  const auto with_codec = [&key](uint8_t first, uint8_t second, size_t size) {
    Buffer raw{first, second};
    raw.insert(raw.end(), key.begin(), key.end());
    raw.resize(2 + size, 0);
    return "did:key:z" + to_base58(raw);
  };
  EXPECT_EQ(with_codec(0xed, 0x01, 32), good);
  EXPECT_FALSE(parse_did(with_codec(0xec, 0x01, 32)));
  EXPECT_FALSE(parse_did(with_codec(0xe7, 0x01, 32)));
  EXPECT_FALSE(parse_did(with_codec(0xed, 0x02, 32)));
  EXPECT_FALSE(parse_did(with_codec(0xed, 0x01, 31)));
  EXPECT_FALSE(parse_did(with_codec(0xed, 0x01, 33)));
  EXPECT_FALSE(parse_did("did:key:z" + std::string(100000, 'z'))) << "long text ends at once";
}

}  // namespace
}  // namespace sluice::crypto
