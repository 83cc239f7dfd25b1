// What others can check of the log: that whatever is changed in it is found, and that records are
// proven to who has nothing else.
#include "audit_fixture.h"

namespace sluice::audit {
namespace {

class Damaged : public AuditFolder {
 protected:
  void SetUp() override {
    auto log = open();
    for (int i = 0; i < 66; ++i) ASSERT_TRUE(append(*log, some(1000 * i, 1000)));
    ASSERT_TRUE(log->publish());
    ASSERT_TRUE(check());
  }
  std::string why() {
    const auto r = check();
    return r ? "" : r.error().message;
  }
};

TEST_F(Damaged, ARecordThatWasChangedIsNamed) {
  const std::string path = file({std::nullopt, 3});
  const std::string good = contents(path);
  for (size_t at = 0; at < good.size(); at += 611) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    overwrite(path, bad);
    if (at % 130 < 2) {
      EXPECT_NE(why().find("tile/entries/003"), std::string::npos) << why();
    } else {
      EXPECT_NE(why().find("record " + std::to_string(768 + at / 130) + " "), std::string::npos)
          << why();
    }
  }
}

TEST_F(Damaged, RecordsRemovedAndReorderedAreFound) {
  const std::string path = file({std::nullopt, 3});
  const std::string good = contents(path);
  overwrite(path, good.substr(0, good.size() - 130));
  EXPECT_NE(why().find("wrong size"), std::string::npos) << why();
  std::string bad = good;
  std::swap_ranges(bad.begin(), bad.begin() + 130, bad.begin() + 130);
  overwrite(path, bad);
  EXPECT_NE(why().find("record 768 "), std::string::npos) << why();
  overwrite(path, good);
  const std::string last = file({std::nullopt, 257, 66000 % 256});
  ASSERT_TRUE(std::filesystem::remove(last));
  EXPECT_NE(why(), "");
}

// With the hash beside it made to fit, and the hash above that.
TEST_F(Damaged, ATileThatFitsTheLieIsFoundByTheOneAbove) {
  std::string bundle = contents(file({std::nullopt, 3}));
  bundle[2 + 50] ^= 1;
  overwrite(file({std::nullopt, 3}), bundle);
  std::string tile = contents(file({0, 3}));
  const Hash leaf = leaf_hash(Bytes(reinterpret_cast<const uint8_t*>(bundle.data()) + 2, 128));
  std::memcpy(tile.data(), leaf.data(), 32);
  overwrite(file({0, 3}), tile);
  EXPECT_NE(why().find("records 768 to 1023"), std::string::npos) << why();
  Edge edge;
  for (int i = 0; i < 256; ++i) {
    edge.append(take<32>(reinterpret_cast<const uint8_t*>(tile.data()) + 32 * i), 0,
                [](unsigned, const Hash&) {});
  }
  std::string above = contents(file({1, 0}));
  const Hash root = edge.root();
  std::memcpy(above.data() + 3 * 32, root.data(), 32);
  overwrite(file({1, 0}), above);
  EXPECT_NE(why().find("records 0 to 65535"), std::string::npos) << why();
}

TEST_F(Damaged, AnEarlierCheckpointIsContinued) {
  const Checkpoint then = *check();
  {
    auto log = open();
    ASSERT_TRUE(append(*log, some(0, 777)));
    ASSERT_TRUE(log->publish());
  }
  EXPECT_TRUE(check({.earlier = then}));
  Checkpoint other = then;
  other.root[0] ^= 1;
  EXPECT_NE(check({.earlier = other}).error().message.find("written anew"), std::string::npos);
  other.size = 1'000'000;
  EXPECT_NE(check({.earlier = other}).error().message.find("cut off"), std::string::npos);
}

TEST_F(Damaged, RecordsAreProvenToWhoHasNothingElse) {
  FolderSource source(folder_);
  for (const uint64_t index : {0u, 1u, 255u, 256u, 65535u, 65536u, 65999u}) {
    Record record;
    const auto proof = prove(source, verifier(), index, record);
    ASSERT_TRUE(proof) << proof.error().message;
    EXPECT_EQ(record, numbered(index));
    uint64_t read = 0;
    const auto head = check_proof(*proof, verifier(), record, read);
    ASSERT_TRUE(head) << head.error().message;
    EXPECT_EQ(read, index);
    EXPECT_FALSE(check_proof(*proof, verifier(), numbered(index + 1), read));
    for (size_t at = 0; at < proof->size(); at += 3) {
      std::string bad = *proof;
      bad[at] = static_cast<char>(bad[at] ^ 1);
      EXPECT_FALSE(check_proof(bad, verifier(), record, read)) << index << " " << at;
    }
  }
  Record record;
  EXPECT_EQ(prove(source, verifier(), 66000, record).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace sluice::audit
