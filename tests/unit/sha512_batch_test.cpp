// SHA-512 of eight messages at once against libsodium's: every length around the ends of blocks,
// pieces cut everywhere, lanes of different lengths.
#include "crypto/sha512_batch.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <random>

#include "crypto/secret.h"
#include "engines.h"
#include "unit/ready.h"
#include "vectors.h"

namespace sluice::crypto {
namespace {

class Sha512Batch : public testing::TestWithParam<const lanes::Engine*> {};

INSTANTIATE_TEST_SUITE_P(On, Sha512Batch, testing::ValuesIn(engines::all()), engines::name);

// FIPS 180-4's example.
TEST_P(Sha512Batch, Abc) {
  ASSERT_TRUE(kReady);
  ByteArray<64> out;
  const Sha512Job job{as_bytes("a"), as_bytes("bc"), &out};
  sha512_batch({&job, 1}, GetParam());
  EXPECT_EQ(vectors::hex(out),
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
}

TEST_P(Sha512Batch, EveryLengthAndCut) {
  std::mt19937_64 random(1);
  Buffer text(1100);
  for (auto& b : text) b = static_cast<uint8_t>(random());
  std::vector<Sha512Job> jobs;
  std::vector<ByteArray<64>> digests(1000);
  std::vector<Bytes> whole;
  for (size_t n = 0; n < digests.size(); ++n) {
    // Neighbours in a group differ in length by up to the whole range.
    const size_t size = n < 300 ? n : random() % text.size();
    const size_t cut = size == 0 ? 0 : random() % (size + 1);
    const Bytes message = Bytes(text).subspan(random() % (text.size() - size), size);
    whole.push_back(message);
    jobs.push_back({message.first(cut), message.subspan(cut), &digests[n]});
  }
  sha512_batch(jobs, GetParam());
  for (size_t i = 0; i < jobs.size(); ++i) {
    ByteArray<64> expected;
    crypto_hash_sha512(expected.data(), whole[i].data(), whole[i].size());
    ASSERT_EQ(vectors::hex(digests[i]), vectors::hex(expected)) << i;
  }
}

}  // namespace
}  // namespace sluice::crypto
