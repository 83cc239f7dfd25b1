// AES-256-GCM: published answers, agreement with libsodium's implementation, every way in which an
// opening has to fail, and batches where only chosen operations fail.
#include "crypto/aead.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::unhex;

// An operation that owns its bytes.
struct Packet {
  std::unique_ptr<GcmKey> key = std::make_unique<GcmKey>();
  Buffer raw_key, nonce, aad, text;
  ByteArray<kTagSize> tag{};

  Packet(Buffer k, Buffer n, Buffer a, Buffer t)
      : raw_key(std::move(k)), nonce(std::move(n)), aad(std::move(a)), text(std::move(t)) {
    aead().expand(raw_key.data(), *key);
  }
  Packet(std::mt19937_64& random, size_t text_size, size_t aad_size)
      : Packet(random_buffer(random, 32), random_buffer(random, kNonceSize),
               random_buffer(random, aad_size), random_buffer(random, text_size)) {}

  AeadOp op() {
    AeadOp out{};
    out.key = key.get();
    out.aad = aad.data();
    out.text = text.data();
    out.tag = tag.data();
    out.text_size = static_cast<uint32_t>(text.size());
    out.aad_size = static_cast<uint16_t>(aad.size());
    std::memcpy(out.nonce, nonce.data(), kNonceSize);
    return out;
  }
  void seal() {
    AeadOp o = op();
    aead().seal({&o, 1});
  }
  bool open() {
    AeadOp o = op();
    return aead().open({&o, 1}) == 1;
  }
};

struct GcmVector {
  std::string name;
  Buffer key, nonce, aad, text, sealed, tag;
  bool valid;
};

struct GcmVectors {
  std::vector<GcmVector> vectors;
  size_t not_applicable = 0;
  size_t minimum = 0;
};

GcmVectors gcm_vectors(const std::string& source) {
  GcmVectors out;
  if (source == vectors::kRfc) {
    out.minimum = 4;
    for (const auto& v : rfc::kGcm) {
      out.vectors.push_back({v.name, unhex(v.key), unhex(v.nonce), unhex(v.aad), unhex(v.text),
                             unhex(v.sealed), unhex(v.tag), true});
    }
    return out;
  }
  out.minimum = 60;
  const auto file = vectors::load(source);
  for (const auto& group : file.at("testGroups")) {
    const bool ours =
        group.at("keySize") == 256 && group.at("ivSize") == 96 && group.at("tagSize") == 128;
    if (!ours) {
      out.not_applicable += group.at("tests").size();
      continue;
    }
    for (const auto& t : group.at("tests")) {
      out.vectors.push_back({"tcId " + t.at("tcId").dump(), vectors::field(t, "key"),
                             vectors::field(t, "iv"), vectors::field(t, "aad"),
                             vectors::field(t, "msg"), vectors::field(t, "ct"),
                             vectors::field(t, "tag"), t.at("result") == "valid"});
    }
  }
  return out;
}

class AeadVectors : public testing::TestWithParam<std::string> {};

TEST_P(AeadVectors, SealAndOpenAsPublished) {
  ASSERT_TRUE(kReady && aead().usable());
  const GcmVectors all = gcm_vectors(GetParam());
  ASSERT_GE(all.vectors.size(), all.minimum);
  size_t valid = 0;
  for (const GcmVector& v : all.vectors) {
    SCOPED_TRACE(v.name);
    if (v.valid) {
      ++valid;
      Packet sealing(v.key, v.nonce, v.aad, v.text);
      sealing.seal();
      EXPECT_EQ(sealing.text, v.sealed);
      EXPECT_EQ(vectors::hex(sealing.tag), vectors::hex(v.tag));
    }
    Packet opening(v.key, v.nonce, v.aad, v.sealed);
    std::copy(v.tag.begin(), v.tag.end(), opening.tag.begin());
    EXPECT_EQ(opening.open(), v.valid);
    if (v.valid) {
      EXPECT_EQ(opening.text, v.text);
    }

    Buffer appended = v.sealed;
    appended.insert(appended.end(), v.tag.begin(), v.tag.end());
    Buffer opened(v.sealed.size() + 1, 0xaa);
    EXPECT_EQ(aead().open_appended(*opening.key, v.nonce.data(), v.aad, appended, opened.data()),
              v.valid);
    EXPECT_EQ(opened.back(), 0xaa) << "wrote beyond the text";
    opened.pop_back();
    EXPECT_EQ(opened, v.valid ? v.text : Buffer(opened.size(), 0)) << "failed text must be wiped";
  }
  EXPECT_GT(valid, 0u);
  std::printf("%s: %zu vectors run, %zu not applicable\n", GetParam().c_str(), all.vectors.size(),
              all.not_applicable);
}

INSTANTIATE_TEST_SUITE_P(Published, AeadVectors,
                         testing::ValuesIn(vectors::sources("wycheproof_aes_gcm_test.json")),
                         vectors::source_name);

TEST(Aead, NamesItsPathAndLibrary) {
  ASSERT_TRUE(aead().usable());
  const std::string path = aead().path();
  EXPECT_TRUE(path == "avx512" || path == "avx2" || path == "avx" || path == "sse") << path;
  EXPECT_GT(std::string(Aead::library_version()).size(), 0u);
}

// Sizes of the wire: nothing, every remainder of the wide paths' blocks, an MTU and a jumbo frame.
TEST(Aead, AgreesWithLibsodiumInPlace) {
  if (crypto_aead_aes256gcm_is_available() == 0) FAIL() << "libsodium's AES-256-GCM needs AES-NI";
  std::mt19937_64 random(1);
  std::vector<size_t> sizes;
  for (size_t n = 0; n <= 300; ++n) sizes.push_back(n);
  for (size_t n : {511u, 512u, 513u, 1024u, 1472u, 1500u, 4096u, 9000u}) sizes.push_back(n);
  for (size_t n : sizes) {
    for (size_t aad_size : {size_t{0}, size_t{16}, size_t{26}, size_t{34}}) {
      SCOPED_TRACE(testing::Message() << n << " bytes, aad " << aad_size);
      Packet p(random, n, aad_size);
      const Buffer plain = p.text;
      Buffer expected(n + kTagSize);
      unsigned long long written = 0;
      ASSERT_EQ(
          crypto_aead_aes256gcm_encrypt(expected.data(), &written, plain.data(), n, p.aad.data(),
                                        aad_size, nullptr, p.nonce.data(), p.raw_key.data()),
          0);
      ASSERT_EQ(written, expected.size());
      p.seal();
      ASSERT_TRUE(std::equal(p.text.begin(), p.text.end(), expected.begin()));
      ASSERT_TRUE(std::equal(p.tag.begin(), p.tag.end(), expected.begin() + long(n)));
      ASSERT_TRUE(p.open());
      ASSERT_EQ(p.text, plain);

      Buffer appended(n + kTagSize + 1, 0x5c);
      std::copy(plain.begin(), plain.end(), appended.begin());
      aead().seal_appended(*p.key, p.nonce.data(), p.aad, Bytes(appended).first(n),
                           appended.data());
      ASSERT_EQ(appended.back(), 0x5c);
      appended.pop_back();
      ASSERT_EQ(appended, expected);
      ASSERT_TRUE(aead().open_appended(*p.key, p.nonce.data(), p.aad, appended, appended.data()));
      appended.resize(n);
      ASSERT_EQ(appended, plain);
    }
  }
}

TEST(Aead, EveryFlippedBitIsRefused) {
  std::mt19937_64 random(2);
  for (size_t n : {16u, 17u, 64u, 208u, 1400u}) {
    Packet sealed(random, n, 34);
    sealed.seal();
    const auto refused = [&sealed](auto change) {
      Packet copy(sealed.raw_key, sealed.nonce, sealed.aad, sealed.text);
      copy.tag = sealed.tag;
      change(copy);
      return !copy.open();
    };
    EXPECT_FALSE(refused([](Packet&) {})) << "the untouched packet has to open";
    for (size_t bit = 0; bit < 8 * kTagSize; ++bit) {
      EXPECT_TRUE(refused([bit](Packet& p) { p.tag[bit / 8] ^= uint8_t(1u << bit % 8); })) << bit;
    }
    for (size_t bit = 0; bit < 8; ++bit) {
      const uint8_t mask = uint8_t(1u << bit);
      EXPECT_TRUE(refused([mask](Packet& p) { p.text.front() ^= mask; }));
      EXPECT_TRUE(refused([mask](Packet& p) { p.text.back() ^= mask; }));
      EXPECT_TRUE(refused([mask](Packet& p) {
        p.raw_key[31] ^= mask;
        aead().expand(p.raw_key.data(), *p.key);
      }));
    }
    for (size_t bit = 0; bit < 8 * sealed.aad.size(); ++bit) {
      EXPECT_TRUE(refused([bit](Packet& p) { p.aad[bit / 8] ^= uint8_t(1u << bit % 8); })) << bit;
    }
    for (size_t bit = 0; bit < 8 * kNonceSize; ++bit) {
      EXPECT_TRUE(refused([bit](Packet& p) { p.nonce[bit / 8] ^= uint8_t(1u << bit % 8); })) << bit;
    }
    EXPECT_TRUE(refused([](Packet& p) { p.text.pop_back(); }));
    EXPECT_TRUE(refused([](Packet& p) { p.text.push_back(0); }));
    EXPECT_TRUE(refused([](Packet& p) { p.aad.pop_back(); }));
    EXPECT_TRUE(refused([](Packet& p) { p.aad.push_back(0); }));
  }
}

TEST(Aead, BatchFailsExactlyWhereItWasTouched) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20; ++round) {
    std::vector<Packet> packets;
    std::vector<Buffer> plain;
    std::vector<AeadOp> ops;
    for (size_t i = 0; i < 64; ++i) {
      packets.emplace_back(random, random() % 1500, random() % 40);
      plain.push_back(packets.back().text);
    }
    // Neighbours share a key, as the packets of one session in a burst do.
    for (size_t i = 1; i < 64; i += 2) {
      packets[i].raw_key = packets[i - 1].raw_key;
      *packets[i].key = *packets[i - 1].key;
    }
    for (Packet& p : packets) ops.push_back(p.op());
    aead().seal(ops);
    std::vector<bool> touched(64);
    for (size_t i = 0; i < 64; ++i) {
      touched[i] = random() % 4 == 0 || i == size_t(round);
      if (touched[i]) packets[i].tag[random() % kTagSize] ^= uint8_t(1u << random() % 8);
    }
    const uint64_t authentic = aead().open(ops);
    for (size_t i = 0; i < 64; ++i) {
      EXPECT_EQ((authentic >> i & 1) != 0, !touched[i]) << "round " << round << ", operation " << i;
      EXPECT_EQ(packets[i].text, plain[i]);
    }
  }
  aead().seal({});
  EXPECT_EQ(aead().open({}), 0u);
}

TEST(Aead, AppendedShorterThanATagIsRefused) {
  std::mt19937_64 random(4);
  Packet p(random, 0, 0);
  for (size_t n = 0; n < kTagSize; ++n) {
    const Buffer in(n, 0);
    uint8_t out = 0x77;
    EXPECT_FALSE(aead().open_appended(*p.key, p.nonce.data(), {}, in, &out)) << n;
    EXPECT_EQ(out, 0x77);
  }
}

}  // namespace
}  // namespace sluice::crypto
