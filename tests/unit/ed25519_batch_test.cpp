// The batch verifier against published vectors and against libsodium, on every path that this CPU
// runs: known answers, disagreeing cases, lanes with different outcomes, partial batches, prepared
// keys. SLUICE_CASES sets how many differential cases run (scripts/test --long: ten million).
#include "crypto/ed25519_batch.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <bit>
#include <memory>

#include "crypto/group_order.h"
#include "ed25519_cases.h"
#include "engines.h"
#include "rfc_vectors.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

using vectors::unhex;
using vectors::unhex_array;

bool by_sodium(const cases::Case& c) {
  return crypto_sign_verify_detached(c.signature.data(), c.message.data(), c.message.size(),
                                     c.key.data()) == 0;
}

struct Published {
  std::string name;
  PublicKey key;
  Buffer message;
  Signature signature;
  bool valid;
};

std::vector<Published> published() {
  std::vector<Published> out;
  for (const auto& v : rfc::kEd25519) {
    out.push_back(
        {v.name, unhex_array<32>(v.key), unhex(v.message), unhex_array<64>(v.signature), true});
  }
  if (!vectors::present()) return out;
  const auto file = vectors::load("wycheproof_ed25519_test.json");
  for (const auto& group : file.at("testGroups")) {
    const auto key = unhex_array<32>(group.at("publicKey").at("pk").get<std::string>());
    for (const auto& t : group.at("tests")) {
      const Buffer s = vectors::field(t, "sig");
      if (s.size() != 64) continue;  // cannot be expressed: a Signature has 64 bytes
      out.push_back({"tcId " + t.at("tcId").dump(), key, vectors::field(t, "msg"),
                     take<64>(s.data()), t.at("result") == "valid"});
    }
  }
  return out;
}

class Batch : public testing::TestWithParam<const lanes::Engine*> {
 protected:
  // The slow back end exists to check the fast one's formulas.
  size_t cases() const {
    if (engines::is_portable(GetParam())) return 1500;
    const char* wanted = std::getenv("SLUICE_CASES");
    return wanted == nullptr ? 30'000 : std::strtoull(wanted, nullptr, 10);
  }
  Ed25519BatchVerifier verifier_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(On, Batch, testing::ValuesIn(engines::all()), engines::name);

TEST_P(Batch, PublishedVectors) {
  ASSERT_TRUE(kReady);
  const auto all = published();
  ASSERT_GE(all.size(), vectors::present() ? 140u : 5u);
  // In batches of 64, and each key prepared as well.
  for (size_t from = 0; from < all.size(); from += 64) {
    const size_t n = std::min<size_t>(64, all.size() - from);
    std::vector<VerifyJob> jobs;
    uint64_t expected = 0;
    for (size_t i = 0; i < n; ++i) {
      const Published& v = all[from + i];
      jobs.push_back({&v.key, v.message, &v.signature});
      expected |= uint64_t{v.valid} << i;
    }
    EXPECT_EQ(verifier_.verify(jobs), expected) << "from " << all[from].name;
    for (size_t i = 0; i < n; ++i) {
      auto key = std::make_unique<PreparedKey>();
      PreparedKey* const out = key.get();
      if (verifier_.prepare({jobs[i].key, 1}, {&out, 1}) == 0) continue;
      jobs[i].prepared = out;
      EXPECT_EQ(verifier_.verify({&jobs[i], 1}), uint64_t{all[from + i].valid})
          << all[from + i].name;
    }
  }
}

// Every kind of case, in batches of random size and order, half of the pool's keys prepared.
TEST_P(Batch, AgreesWithLibsodium) {
  cases::Maker maker(20260101);
  std::mt19937_64 random(7);
  std::vector<std::unique_ptr<PreparedKey>> prepared(cases::Maker::kPool);
  for (size_t i = 0; i < prepared.size(); i += 2) {
    auto key = std::make_unique<PreparedKey>();
    PreparedKey* const out = key.get();
    if (verifier_.prepare({&maker.pool_key(i), 1}, {&out, 1}) != 0) prepared[i] = std::move(key);
  }
  EXPECT_EQ(prepared[0] != nullptr, !engines::is_sodium(GetParam()));

  cases::Tally tally;
  size_t done = 0, with_prepared = 0;
  while (done < cases()) {
    const size_t n = 1 + random() % 64;
    std::vector<cases::Case> batch;
    std::vector<VerifyJob> jobs;
    for (size_t i = 0; i < n; ++i) batch.push_back(maker.next());
    uint64_t expected = 0;
    for (size_t i = 0; i < n; ++i) {
      const auto& c = batch[i];
      VerifyJob job{&c.key, c.message, &c.signature};
      if (c.pool >= 0) job.prepared = prepared[size_t(c.pool)].get();
      // One of another key must not be used.
      if (random() % 16 == 0) job.prepared = prepared[0].get();
      with_prepared += job.prepared != nullptr;
      jobs.push_back(job);
      const bool good = by_sodium(c);
      tally.add(c.kind, good);
      expected |= uint64_t{good} << i;
    }
    const uint64_t got = verifier_.verify(jobs);
    if (got != expected) {
      const auto i = size_t(std::countr_zero(got ^ expected));
      FAIL() << "case kind " << unsigned(batch[i].kind) << " at " << done + i << " of seed: key "
             << vectors::hex(batch[i].key) << " signature " << vectors::hex(batch[i].signature)
             << " message " << vectors::hex(batch[i].message) << ", libsodium says "
             << ((expected >> i) & 1);
    }
    done += n;
  }
  // The maker still makes what it is for.
  const auto accepted = [&](cases::Kind k) { return tally.accepted[size_t(k)]; };
  const auto refused = [&](cases::Kind k) { return tally.refused[size_t(k)]; };
  EXPECT_EQ(refused(cases::Kind::kValid), 0u);
  EXPECT_GT(accepted(cases::Kind::kKeyMixedOrder), 0u);
  EXPECT_GT(refused(cases::Kind::kKeyMixedOrder), accepted(cases::Kind::kKeyMixedOrder));
  EXPECT_GT(accepted(cases::Kind::kBothMixedOrder), 0u);
  EXPECT_EQ(accepted(cases::Kind::kScalarPlusOrder), 0u);
  EXPECT_EQ(accepted(cases::Kind::kOffCurveAsBase), 0u);
  EXPECT_GT(refused(cases::Kind::kOffCurveAsBase), 0u);
  EXPECT_EQ(accepted(cases::Kind::kRSmallOrder), 0u);
  EXPECT_EQ(accepted(cases::Kind::kKeySmallOrder), 0u);
  std::printf("%s: %zu cases, %zu with a prepared key\n", std::string(name_of(GetParam())).c_str(),
              done, with_prepared);
}

// Each lane's verdict is its own: every pattern of good and bad in one group of eight.
TEST_P(Batch, EveryPatternOfVerdicts) {
  cases::Maker maker(5);
  std::vector<cases::Case> good, bad;
  // Kinds that pass the checks on encodings, so that the bad ones do get a lane.
  const cases::Kind kinds[] = {cases::Kind::kMessageBit,    cases::Kind::kOffCurveAsBase,
                               cases::Kind::kKeyMixedOrder, cases::Kind::kRMixedOrder,
                               cases::Kind::kMessageBit,    cases::Kind::kRandomKey,
                               cases::Kind::kKeyMixedOrder, cases::Kind::kOffCurveAsBase};
  for (const auto kind : kinds) {
    good.push_back(maker.make(cases::Kind::kValid));
    do {
      bad.push_back(maker.make(kind));
      if (by_sodium(bad.back())) bad.pop_back();
    } while (bad.size() < good.size());
  }
  const unsigned step = engines::is_portable(GetParam()) ? 7 : 1;
  for (unsigned pattern = 0; pattern < 256; pattern += step) {
    std::vector<VerifyJob> jobs;
    for (unsigned i = 0; i < 8; ++i) {
      const auto& c = ((pattern >> i) & 1) != 0 ? good[i] : bad[i];
      jobs.push_back({&c.key, c.message, &c.signature});
    }
    ASSERT_EQ(verifier_.verify(jobs), pattern);
  }
}

TEST_P(Batch, EverySizeFrom0To64) {
  cases::Maker maker(6);
  std::vector<cases::Case> all;
  for (int i = 0; i < 64; ++i) all.push_back(maker.make(cases::Kind::kValid));
  for (size_t n = 0; n <= 64; n += engines::is_portable(GetParam()) && n > 16 ? 16 : 1) {
    std::vector<VerifyJob> jobs;
    for (size_t i = 0; i < n; ++i) {
      jobs.push_back({&all[i].key, all[i].message, &all[i].signature});
    }
    const uint64_t full = n == 64 ? ~uint64_t{0} : (uint64_t{1} << n) - 1;
    EXPECT_EQ(verifier_.verify(jobs), full) << n;
    if (n == 0) continue;
    cases::Case spoilt = all[n - 1];
    spoilt.signature[40] ^= 1;
    jobs[n - 1].signature = &spoilt.signature;
    EXPECT_EQ(verifier_.verify(jobs), full & ~(uint64_t{1} << (n - 1))) << n;
  }
}

// Prepared and other keys side by side, in every proportion that changes how groups are filled.
TEST_P(Batch, PreparedAndOtherKeysTogether) {
  cases::Maker maker(8);
  auto key = std::make_unique<PreparedKey>();
  PreparedKey* const out = key.get();
  const cases::Case mine = maker.make(cases::Kind::kValid);
  const bool ready = verifier_.prepare({&mine.key, 1}, {&out, 1}) == 1;
  EXPECT_EQ(ready, !engines::is_sodium(GetParam()));
  cases::Case other = maker.make(cases::Kind::kValid);
  while (other.key == mine.key) other = maker.make(cases::Kind::kValid);
  cases::Case bad = mine;
  bad.message.push_back(1);
  for (unsigned prepared = 0; prepared <= 18; ++prepared) {
    for (unsigned others = 0; others <= 18; others += 3) {
      std::vector<VerifyJob> jobs;
      uint64_t expected = 0;
      for (unsigned i = 0; i < prepared + others; ++i) {
        const bool use = i % (prepared + others) < prepared;
        const bool spoil = use && i % 5 == 3;
        const auto& c = use ? (spoil ? bad : mine) : other;
        jobs.push_back({&c.key, c.message, &c.signature, use && ready ? out : nullptr});
        expected |= uint64_t{!spoil} << i;
      }
      ASSERT_EQ(verifier_.verify(jobs), expected) << prepared << " prepared, " << others;
    }
    if (engines::is_portable(GetParam())) prepared += 4;
  }
}

TEST_P(Batch, PreparesOnlyKeysThatCanVerify) {
  if (engines::is_sodium(GetParam())) GTEST_SKIP() << "libsodium prepares nothing";
  cases::Maker maker(9);
  std::vector<PublicKey> keys;
  std::vector<std::unique_ptr<PreparedKey>> room;
  std::vector<PreparedKey*> out;
  uint8_t expected = 0;
  for (unsigned i = 0; i < 8; ++i) {
    // Valid, off the curve, of small order (in some spelling), of mixed order.
    PublicKey k = maker.pool_key(i % 4 == 3 ? cases::Maker::kPool - 1 : i);
    if (i % 4 == 1) k = maker.make(cases::Kind::kOffCurveAsBase).key;
    if (i % 4 == 2) k = maker.make(cases::Kind::kKeySmallOrder).key;
    if (i == 2) k = PublicKey{1};
    keys.push_back(k);
    room.push_back(std::make_unique<PreparedKey>());
    std::memset(static_cast<void*>(room.back().get()), 0xa5, sizeof(PreparedKey));
    out.push_back(room.back().get());
    if (i % 4 == 0 || i % 4 == 3) expected = uint8_t(expected | 1u << i);
  }
  const uint8_t filled = verifier_.prepare(keys, out);
  EXPECT_EQ(filled, expected);
  for (unsigned i = 0; i < 8; ++i) {
    const bool is = ((filled >> i) & 1) != 0;
    EXPECT_EQ(is, std::memcmp(out[i]->key, keys[i].data(), 32) == 0) << i;
    EXPECT_EQ(!is, out[i]->rows[0][0][0] == 0xa5a5a5a5a5a5a5a5) << i;
  }
}

// A preparation is the same bytes whichever back end made it.
TEST(Prepared, SameBytesOnEveryBackEnd) {
  if (ifma_engine_here() == nullptr) GTEST_SKIP() << "this CPU has no AVX-512 IFMA";
  cases::Maker maker(10);
  Ed25519BatchVerifier fast(ifma_engine_here()), slow(&lanes::portable_engine());
  std::vector<PublicKey> keys;
  for (size_t i = 0; i < 8; ++i) keys.push_back(maker.pool_key(4 * i));
  std::vector<PreparedKey> a(8), b(8);
  std::memset(static_cast<void*>(a.data()), 0, sizeof(PreparedKey) * 8);
  std::memset(static_cast<void*>(b.data()), 0, sizeof(PreparedKey) * 8);
  std::vector<PreparedKey*> pa, pb;
  for (size_t i = 0; i < 8; ++i) pa.push_back(&a[i]), pb.push_back(&b[i]);
  EXPECT_EQ(fast.prepare(keys, pa), 0xff);
  EXPECT_EQ(slow.prepare(keys, pb), 0xff);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), sizeof(PreparedKey) * 8), 0);
}

TEST(GroupOrder, ReducesAsLibsodium) {
  std::mt19937_64 random(11);
  for (int i = 0; i < 20'000; ++i) {
    uint64_t x[8];
    for (auto& w : x) {
      const auto r = random();
      w = r % 5 == 0 ? 0 : r % 5 == 1 ? ~uint64_t{0} : random();
    }
    if (i % 3 == 0) {  // a multiple of the order, and its neighbours
      Uint128 c = 0;
      const uint64_t k = random();
      for (int j = 0; j < 8; ++j) {
        c += static_cast<Uint128>(k) * (j < 4 ? kOrder[j] : 0);
        x[j] = static_cast<uint64_t>(c);
        c >>= 64;
      }
      x[0] += random() % 3 - 1;
    }
    uint64_t mine[4];
    reduce_by_order(x, mine);
    ByteArray<32> theirs;
    crypto_core_ed25519_scalar_reduce(theirs.data(), reinterpret_cast<const uint8_t*>(x));
    ASSERT_EQ(std::memcmp(mine, theirs.data(), 32), 0) << i;
  }
}

}  // namespace
}  // namespace sluice::crypto
