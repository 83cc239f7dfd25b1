// Both Noise patterns against published vectors in both roles, what a reader must refuse, and the
// hashes that they and the protocol's derivations stand on.
#include "crypto/noise.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "crypto/hash.h"
#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::hex;
using vectors::unhex;
using vectors::unhex_array;

struct Vector {
  std::string name;
  Buffer prologue, psk;
  ByteArray<32> initiator_static, initiator_ephemeral, responder_static, responder_ephemeral;
  Buffer handshake_hash;
  std::vector<std::pair<Buffer, Buffer>> messages;  // payload, ciphertext
};

std::vector<Vector> noise_vectors(const std::string& source) {
  std::vector<Vector> out;
  if (source == vectors::kRfc) {
    for (const auto& v : rfc::kNoise) {
      Vector w{v.name,
               unhex(v.prologue),
               unhex(v.psk),
               unhex_array<32>(v.initiator_static),
               unhex_array<32>(v.initiator_ephemeral),
               unhex_array<32>(v.responder_static),
               unhex_array<32>(v.responder_ephemeral),
               unhex(v.handshake_hash),
               {}};
      for (const auto& m : v.messages)
        w.messages.emplace_back(unhex(m.payload), unhex(m.ciphertext));
      out.push_back(std::move(w));
    }
    return out;
  }
  const auto file = vectors::load(source);
  for (const auto& v : file.at("vectors")) {
    const std::string name = v.at("protocol_name");
    if (name != "Noise_KK_25519_AESGCM_SHA256" && name != "Noise_IKpsk2_25519_AESGCM_SHA256") {
      continue;
    }
    const auto array = [&v](const char* f) { return unhex_array<32>(v.at(f).get<std::string>()); };
    Vector w{name,
             vectors::field(v, "init_prologue"),
             v.contains("init_psks") ? unhex(v.at("init_psks").at(0).get<std::string>()) : Buffer{},
             array("init_static"),
             array("init_ephemeral"),
             array("resp_static"),
             array("resp_ephemeral"),
             vectors::field(v, "handshake_hash"),
             {}};
    for (const auto& m : v.at("messages")) {
      w.messages.emplace_back(vectors::field(m, "payload"), vectors::field(m, "ciphertext"));
    }
    out.push_back(std::move(w));
  }
  return out;
}

// Both ends of one handshake; what a test changes it changes before `start`.
struct Pair {
  NoisePattern pattern = NoisePattern::kIkPsk2;
  Buffer initiator_prologue, responder_prologue;
  X25519KeyPair initiator_static = X25519KeyPair::generate();
  X25519KeyPair responder_static = X25519KeyPair::generate();
  std::optional<ByteArray<32>> responder_key_known, initiator_key_known;
  Key256 initiator_psk, responder_psk;
  std::optional<NoiseHandshake> initiator, responder;

  void start() {
    const bool psk = pattern == NoisePattern::kIkPsk2;
    NoiseConfig a{pattern,
                  NoiseRole::kInitiator,
                  initiator_prologue,
                  &initiator_static,
                  responder_key_known ? responder_key_known : responder_static.public_key,
                  psk ? &initiator_psk : nullptr};
    NoiseConfig b{pattern,           NoiseRole::kResponder, responder_prologue,
                  &responder_static, std::nullopt,          psk ? &responder_psk : nullptr};
    if (pattern == NoisePattern::kKk) {
      b.remote_static = initiator_key_known ? initiator_key_known : initiator_static.public_key;
    }
    initiator.emplace(a);
    responder.emplace(b);
  }
};

Buffer write(NoiseHandshake& h, Bytes payload) {
  const size_t tokens = h.token_size();
  Buffer out(tokens + payload.size() + kTagSize);
  EXPECT_TRUE(h.write_tokens(MutBytes(out).first(tokens)));
  h.write_payload(payload, MutBytes(out).subspan(tokens));
  return out;
}

std::optional<Buffer> read(NoiseHandshake& h, Bytes message) {
  const size_t tokens = h.token_size();
  if (message.size() < tokens + kTagSize) return std::nullopt;
  if (!h.read_tokens(message.first(tokens))) return std::nullopt;
  Buffer out(message.size() - tokens - kTagSize);
  if (!h.read_payload(message.subspan(tokens), out)) return std::nullopt;
  return out;
}

class NoiseVectors : public testing::TestWithParam<std::string> {};

TEST_P(NoiseVectors, BothRolesAsPublished) {
  ASSERT_TRUE(kReady);
  const auto all = noise_vectors(GetParam());
  ASSERT_GE(all.size(), 2u);
  size_t messages = 0;
  for (const Vector& v : all) {
    SCOPED_TRACE(v.name);
    ASSERT_GE(v.messages.size(), 4u) << "two handshake messages and one each way";
    Pair p;
    p.pattern =
        v.name.find("_KK_") != std::string::npos ? NoisePattern::kKk : NoisePattern::kIkPsk2;
    p.initiator_prologue = p.responder_prologue = v.prologue;
    p.initiator_static = X25519KeyPair::from_secret(Key256(v.initiator_static));
    p.responder_static = X25519KeyPair::from_secret(Key256(v.responder_static));
    if (!v.psk.empty()) {
      ASSERT_EQ(v.psk.size(), 32u);
      p.initiator_psk = Key256(take<32>(v.psk.data()));
      p.responder_psk = Key256(take<32>(v.psk.data()));
    }
    p.start();
    p.initiator->set_ephemeral(X25519KeyPair::from_secret(Key256(v.initiator_ephemeral)));
    p.responder->set_ephemeral(X25519KeyPair::from_secret(Key256(v.responder_ephemeral)));

    for (size_t i = 0; i < 2; ++i) {
      NoiseHandshake& writer = i == 0 ? *p.initiator : *p.responder;
      NoiseHandshake& reader = i == 0 ? *p.responder : *p.initiator;
      const auto& [payload, ciphertext] = v.messages[i];
      EXPECT_EQ(hex(write(writer, payload)), hex(ciphertext)) << "handshake message " << i;
      // The reader gets the published bytes, not the writer's.
      const auto opened = read(reader, ciphertext);
      ASSERT_TRUE(opened) << "handshake message " << i;
      EXPECT_EQ(*opened, payload);
      ++messages;
    }
    EXPECT_EQ(p.responder->remote_static(), p.initiator_static.public_key);
    EXPECT_EQ(hex(p.initiator->hash()), hex(v.handshake_hash));
    EXPECT_EQ(hex(p.responder->hash()), hex(v.handshake_hash));

    const NoiseKeys ours = p.initiator->split();
    const NoiseKeys theirs = p.responder->split();
    EXPECT_EQ(hex(ours.hash), hex(v.handshake_hash));
    EXPECT_TRUE(
        equal_secret(ours.initiator_to_responder.view(), theirs.initiator_to_responder.view()));
    EXPECT_TRUE(
        equal_secret(ours.responder_to_initiator.view(), theirs.responder_to_initiator.view()));
    GcmKey keys[2];
    aead().expand(ours.initiator_to_responder.data(), keys[0]);
    aead().expand(theirs.responder_to_initiator.data(), keys[1]);
    uint64_t counters[2] = {0, 0};
    for (size_t i = 2; i < v.messages.size(); ++i) {
      const auto& [payload, ciphertext] = v.messages[i];
      const size_t direction = i % 2;
      uint8_t nonce[kNonceSize] = {};
      store_be64(nonce + 4, counters[direction]++);
      Buffer sealed(payload.size() + kTagSize);
      aead().seal_appended(keys[direction], nonce, {}, payload, sealed.data());
      EXPECT_EQ(hex(sealed), hex(ciphertext)) << "transport message " << i;
      Buffer opened(payload.size());
      EXPECT_TRUE(aead().open_appended(keys[direction], nonce, {}, ciphertext, opened.data()));
      EXPECT_EQ(opened, payload);
      ++messages;
    }
  }
  EXPECT_GE(messages, 12u);
  std::printf("%s: %zu handshakes, %zu messages\n", GetParam().c_str(), all.size(), messages);
}

INSTANTIATE_TEST_SUITE_P(Published, NoiseVectors,
                         testing::ValuesIn(vectors::sources("noise_25519_aesgcm_sha256.json")),
                         vectors::source_name);

class NoisePatterns : public testing::TestWithParam<NoisePattern> {};

TEST_P(NoisePatterns, TokenSizes) {
  Pair p;
  p.pattern = GetParam();
  p.start();
  EXPECT_EQ(p.initiator->token_size(), GetParam() == NoisePattern::kIkPsk2 ? 80u : 32u);
  const Buffer m1 = write(*p.initiator, {});
  EXPECT_EQ(p.initiator->token_size(), 32u);
  ASSERT_TRUE(read(*p.responder, m1));
  EXPECT_EQ(p.responder->token_size(), 32u);
}

// The HELLO's signature covers the hash between tokens and payload: both ends must see the same.
TEST_P(NoisePatterns, HashBetweenTokensAndPayloadIsShared) {
  Pair p;
  p.pattern = GetParam();
  p.start();
  Buffer tokens(p.initiator->token_size());
  ASSERT_TRUE(p.initiator->write_tokens(tokens));
  const auto before = p.responder->hash();
  ASSERT_TRUE(p.responder->read_tokens(tokens));
  EXPECT_NE(p.responder->hash(), before);
  EXPECT_EQ(p.initiator->hash(), p.responder->hash());
}

TEST_P(NoisePatterns, EphemeralsDiffer) {
  Pair p;
  p.pattern = GetParam();
  p.start();
  const Buffer first = write(*p.initiator, {});
  p.start();
  EXPECT_NE(Buffer(first.begin(), first.begin() + 32), [&p] {
    const Buffer second = write(*p.initiator, {});
    return Buffer(second.begin(), second.begin() + 32);
  }());
}

TEST_P(NoisePatterns, EveryChangedBitOfBothMessagesIsRefused) {
  const Buffer payload(37, 0x42);
  Pair p;
  p.pattern = GetParam();
  const auto fixed_a = X25519KeyPair::generate();
  const auto fixed_b = X25519KeyPair::generate();
  const auto fresh = [&] {
    p.start();
    p.initiator->set_ephemeral(fixed_a.clone());
    p.responder->set_ephemeral(fixed_b.clone());
  };
  fresh();
  const Buffer m1 = write(*p.initiator, payload);
  ASSERT_EQ(read(*p.responder, m1), payload);
  const Buffer m2 = write(*p.responder, payload);
  ASSERT_EQ(read(*p.initiator, m2), payload);
  // The top bit of a public key is ignored by X25519, but not by the hash.
  for (size_t bit = 0; bit < 8 * m1.size(); bit += bit % 8 == 0 ? 7 : 1) {
    fresh();
    Buffer bad = m1;
    bad[bit / 8] ^= uint8_t(1u << bit % 8);
    EXPECT_FALSE(read(*p.responder, bad)) << "message 1, bit " << bit;
  }
  for (size_t bit = 0; bit < 8 * m2.size(); bit += bit % 8 == 0 ? 7 : 1) {
    fresh();
    static_cast<void>(write(*p.initiator, payload));
    Buffer bad = m2;
    bad[bit / 8] ^= uint8_t(1u << bit % 8);
    EXPECT_FALSE(read(*p.initiator, bad)) << "message 2, bit " << bit;
  }
  for (size_t n = 0; n < m1.size(); ++n) {
    fresh();
    EXPECT_FALSE(read(*p.responder, Bytes(m1).first(n))) << n;
  }
  fresh();
  const Buffer tokens(p.responder->token_size() - 1);
  EXPECT_FALSE(p.responder->read_tokens(tokens));
}

TEST_P(NoisePatterns, OtherPrologueKeyOrPskIsRefused) {
  const auto refused_at = [](Pair& p) {
    p.start();
    const Buffer m1 = write(*p.initiator, {});
    if (!read(*p.responder, m1)) return 1;
    const Buffer m2 = write(*p.responder, {});
    return read(*p.initiator, m2) ? 0 : 2;
  };
  const auto make = [] {
    Pair p;
    p.pattern = GetParam();
    p.initiator_prologue = p.responder_prologue = Buffer(8, 1);
    return p;
  };
  Pair good = make();
  EXPECT_EQ(refused_at(good), 0);
  Pair prologue = make();
  prologue.responder_prologue.push_back(0);
  EXPECT_EQ(refused_at(prologue), 1);
  Pair responder = make();
  responder.responder_key_known = X25519KeyPair::generate().public_key;
  EXPECT_EQ(refused_at(responder), 1);
  if (GetParam() == NoisePattern::kKk) {
    Pair initiator = make();
    initiator.initiator_key_known = X25519KeyPair::generate().public_key;
    EXPECT_EQ(refused_at(initiator), 1);
  } else {
    Pair psk = make();
    ByteArray<32> other{};
    other[31] = 1;
    psk.responder_psk = Key256(other);
    EXPECT_EQ(refused_at(psk), 2) << "psk2 stands at the end of message 2";
  }
}

TEST_P(NoisePatterns, LowOrderEphemeralEndsTheHandshake) {
  for (uint8_t u : {uint8_t{0}, uint8_t{1}}) {
    Pair p;
    p.pattern = GetParam();
    p.start();
    Buffer m1 = write(*p.initiator, {});
    std::fill(m1.begin(), m1.begin() + 32, uint8_t{0});
    m1[0] = u;
    EXPECT_FALSE(p.responder->read_tokens(Bytes(m1).first(p.responder->token_size())));
  }
  Pair p;
  p.pattern = GetParam();
  p.responder_key_known = ByteArray<32>{};
  p.start();
  Buffer out(p.initiator->token_size());
  EXPECT_FALSE(p.initiator->write_tokens(out)) << "a peer's static key of low order";
}

INSTANTIATE_TEST_SUITE_P(Both, NoisePatterns,
                         testing::Values(NoisePattern::kIkPsk2, NoisePattern::kKk),
                         [](const auto& pattern) {
                           return pattern.param == NoisePattern::kKk ? "KK" : "IKpsk2";
                         });

TEST(Hash, Sha256) {
  EXPECT_EQ(hex(sha256({as_bytes("abc")})),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256({as_bytes("a"), {}, as_bytes("bc")})), hex(sha256({as_bytes("abc")})));
  EXPECT_EQ(hex(sha256({})), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(Hash, HmacSha256OfRfc4231) {
  for (const auto& v : rfc::kHmacSha256) {
    SCOPED_TRACE(v.name);
    const Buffer message = unhex(v.message);
    EXPECT_EQ(hex(hmac_sha256(unhex(v.key), {message})), v.mac);
    const size_t half = message.size() / 2;
    EXPECT_EQ(
        hex(hmac_sha256(unhex(v.key), {Bytes(message).first(half), Bytes(message).subspan(half)})),
        v.mac);
  }
}

// RFC 5869's third case is the one without salt and info; its first 32 bytes are one block.
TEST(Hash, HkdfSha256) {
  const Buffer ikm(22, 0x0b);
  ByteArray<32> out;
  hkdf_sha256(ikm, "", out);
  EXPECT_EQ(hex(out), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");

  // The salts of a session whose final handshake hash is 00 01 … 1f (docs/protocol.md, handshake).
  Buffer h(32);
  for (size_t i = 0; i < h.size(); ++i) h[i] = uint8_t(i);
  ByteArray<8> salts;
  hkdf_sha256(h, "sluice/1 salts", salts);
  EXPECT_EQ(hex(salts), "18b93b50a39e37f9");
}

// RFC 7693 prints BLAKE2b-512 alone; these lengths were computed with Python's hashlib.
TEST(Hash, Blake2b) {
  EXPECT_EQ(hex(blake2b_256({})),
            "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8");
  EXPECT_EQ(hex(blake2b_256({as_bytes("a"), as_bytes("bc")})),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
  Buffer counting(200);
  for (size_t i = 0; i < counting.size(); ++i) counting[i] = uint8_t(i);
  const Bytes key(counting.data(), 32);
  // mac1's and the cookie's key for the tunnel key 00 01 … 1f.
  const auto mac1_key = blake2b_256({as_bytes("sluice-mac1/1"), key});
  EXPECT_EQ(hex(mac1_key), "0ae1d76ed116bfbd83a16d1b64f3f81c1fd541c0587d011eca552bd9fa9df2e1");
  EXPECT_EQ(hex(blake2b_256({as_bytes("sluice-cookie/1"), key})),
            "d22417d22c1fefdd26c87ed3e1afe6c4b0f0a5a08261a08dc78208764af82cee");
  EXPECT_EQ(hex(blake2b_128(mac1_key, {counting})), "9c6935e64a3230247c986fa235c1437e");
  EXPECT_EQ(hex(blake2b_128(Bytes(counting.data(), 16), {as_bytes("ab"), as_bytes("c")})),
            "cc611a2673ca66e9f7fc64b995c5467c");
}

// The reference implementation's vectors: key 00 … 0f, message 00 … of the length in front.
TEST(Hash, SipHash24) {
  ByteArray<16> key;
  Buffer message(15);
  for (size_t i = 0; i < 16; ++i) key[i] = uint8_t(i);
  for (size_t i = 0; i < 15; ++i) message[i] = uint8_t(i);
  EXPECT_EQ(siphash(key, message), 0xa129ca6149be45e5u);
  EXPECT_EQ(siphash(key, {}), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(siphash(key, Bytes(message).first(1)), 0x74f839c593dc67fdu);
  EXPECT_EQ(siphash(key, Bytes(message).first(8)), 0x93f5f5799a932462u);
}

}  // namespace
}  // namespace sluice::crypto
