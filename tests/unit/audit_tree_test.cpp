// The tree's hashes and proofs, the files' names, and the notes: against published examples.
#include <gtest/gtest.h>

#include <bit>

#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/tile.h"
#include "crypto/hash.h"
#include "crypto/text.h"

namespace sluice::audit {
namespace {

Hash hash_of(const char* hex) {
  return take<32>(crypto::from_hex(hex)->data());
}

// The example tree of the Certificate Transparency reference implementation.
const char* const kLeaves[] = {"",
                               "00",
                               "10",
                               "2021",
                               "3031",
                               "40414243",
                               "5051525354555657",
                               "606162636465666768696a6b6c6d6e6f"};
const char* const kRoots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                              "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                              "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                              "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                              "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                              "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                              "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                              "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

TEST(Merkle, RootsOfThePublishedTree) {
  Edge edge;
  EXPECT_EQ(edge.root(),
            hash_of("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
  for (size_t i = 0; i < 8; ++i) {
    edge.append(leaf_hash(*crypto::from_hex(kLeaves[i])), 0, [](unsigned, const Hash&) {});
    EXPECT_EQ(edge.size(), i + 1);
    EXPECT_EQ(edge.root(), hash_of(kRoots[i])) << i;
  }
}

class Forest : public testing::Test {
 protected:
  static constexpr uint64_t kMost = 70;
  Forest() {
    for (uint64_t i = 0; i < kMost; ++i) {
      ByteArray<8> entry;
      store_le(entry.data(), i);
      leaves.push_back(leaf_hash(entry));
    }
  }
  SubtreeHash subtrees() {
    return [this](unsigned height, uint64_t index) -> Result<Hash> {
      Edge e;
      for (uint64_t i = index << height; i < (index + 1) << height; ++i) {
        e.append(leaves.at(i), 0, [](unsigned, const Hash&) {});
      }
      return e.root();
    };
  }
  Hash root(uint64_t size) {
    Edge e;
    for (uint64_t i = 0; i < size; ++i) e.append(leaves[i], 0, [](unsigned, const Hash&) {});
    return e.root();
  }
  std::vector<Hash> leaves;
};

TEST_F(Forest, EveryInclusionIsProvenAndNothingElse) {
  for (uint64_t size = 1; size <= kMost; ++size) {
    const Hash top = root(size);
    EXPECT_EQ(*root_of(size, subtrees()), top);
    for (uint64_t i = 0; i < size; ++i) {
      auto proof = *inclusion_proof(i, size, subtrees());
      ASSERT_TRUE(proves_inclusion(leaves[i], i, size, proof, top)) << i << " of " << size;
      EXPECT_FALSE(proves_inclusion(leaves[(i + 1) % kMost], i, size, proof, top));
      EXPECT_FALSE(proves_inclusion(leaves[i], i, size, proof, leaves[0]) && size > 1);
      EXPECT_FALSE(proves_inclusion(leaves[i], size, size, proof, top));
      if (size > 1) {
        EXPECT_FALSE(proves_inclusion(leaves[i], (i + 1) % size, size, proof, top));
      }
      for (auto& hash : proof) {
        hash[7] ^= 1;
        EXPECT_FALSE(proves_inclusion(leaves[i], i, size, proof, top));
        hash[7] ^= 1;
      }
      proof.push_back(leaves[0]);
      EXPECT_FALSE(proves_inclusion(leaves[i], i, size, proof, top));
      proof.pop_back();
      if (proof.empty()) continue;
      proof.pop_back();
      EXPECT_FALSE(proves_inclusion(leaves[i], i, size, proof, top));
    }
  }
}

TEST_F(Forest, EveryConsistencyIsProvenAndNothingElse) {
  for (uint64_t second = 1; second <= kMost; ++second) {
    for (uint64_t first = 0; first <= second; ++first) {
      auto proof = *consistency_proof(first, second, subtrees());
      const Hash old_root = root(first), new_root = root(second);
      ASSERT_TRUE(proves_consistency(first, second, old_root, new_root, proof))
          << first << " to " << second;
      Hash other = old_root;
      other[0] ^= 1;
      EXPECT_FALSE(proves_consistency(first, second, other, new_root, proof));
      if (first != 0) {
        other = new_root;
        other[31] ^= 1;
        EXPECT_FALSE(proves_consistency(first, second, old_root, other, proof));
      }
      EXPECT_FALSE(first < second && proves_consistency(second, first, new_root, old_root, proof));
      for (auto& hash : proof) {
        hash[7] ^= 1;
        EXPECT_FALSE(proves_consistency(first, second, old_root, new_root, proof));
        hash[7] ^= 1;
      }
      proof.push_back(new_root);
      EXPECT_FALSE(proves_consistency(first, second, old_root, new_root, proof));
    }
  }
}

TEST(TilePath, AsTheSpecificationWritesThem) {
  EXPECT_EQ(path_of({0, 1234067}), "tile/0/x001/x234/067");
  EXPECT_EQ(path_of({2, 0, 1}), "tile/2/000.p/1");
  EXPECT_EQ(path_of({std::nullopt, 273, 112}), "tile/entries/273.p/112");
  EXPECT_EQ(path_of({63, UINT64_MAX}), "tile/63/x018/x446/x744/x073/x709/x551/615");
}

TEST(TilePath, ReadsWhatItWritesAndNothingElse) {
  const std::vector<Tile> tiles = {
      {0, 0}, {1, 999, 255}, {std::nullopt, 1000}, {7, 1234067, 1}, {63, UINT64_MAX}};
  for (const Tile& t : tiles) {
    const auto read = tile_at(path_of(t));
    ASSERT_TRUE(read) << path_of(t);
    EXPECT_EQ(*read, t);
  }
  for (const char* bad : {"",
                          "tile",
                          "tile/0",
                          "tile/0/",
                          "tile/64/000",
                          "tile/00/000",
                          "tile/0/00",
                          "tile/0/0000",
                          "tile/0/x000/001",
                          "tile/0/x001",
                          "tile/0/x001/",
                          "tile/0/001/",
                          "tile/0/000.p/0",
                          "tile/0/000.p/256",
                          "tile/0/000.p/01",
                          "tile/0/000.p/",
                          "tile/0/000.p/1/2",
                          "tile/-1/000",
                          "tile/0/../checkpoint",
                          "tile/entries/../../audit.key",
                          "tile/0/x018/x446/x744/x073/x709/x551/616",
                          "tile/0/x001/x018/x446/x744/x073/x709/x551/615",
                          "/tile/0/000",
                          "tile/0/ 00"}) {
    EXPECT_FALSE(tile_at(bad)) << bad;
  }
}

// The examples of Go's golang.org/x/mod/sumdb/note.
TEST(Note, OpensOneOfTheReferenceImplementation) {
  constexpr std::string_view kKey =
      "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
  const auto key = Verifier::parse(kKey);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->key_id(), 0xc74f20a3u);
  EXPECT_EQ(key->text(), kKey);
  const std::string note =
      "If you think cryptography is the answer to your problem,\n"
      "then you don't know what your problem is.\n"
      "\n"
      "— PeterNeumann "
      "x08go/ZJkuBS9UG/"
      "SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
  // Its signature holds, but it is no checkpoint; with another letter not even that.
  EXPECT_NE(open_note(note, *key).error().message.find("origin"), std::string::npos);
  std::string other = note;
  other[0] = 'i';
  EXPECT_NE(open_note(other, *key).error().message.find("signature does not hold"),
            std::string::npos);
}

TEST(Note, SignsAndOpens) {
  const auto signer = Signer::generate("relay.example/audit");
  ASSERT_TRUE(signer);
  const Checkpoint c{"relay.example/audit", 20852163, leaf_hash(as_bytes("x"))};
  const std::string note = sign(c, *signer);
  const auto opened = open_note(note, signer->verifier());
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(*opened, c);
  // Witnesses add lines of their own.
  EXPECT_TRUE(open_note(note + "— witness.example AAAAAAAAAAAA\n", signer->verifier()));
  for (size_t i = 0; i < note.size(); ++i) {
    std::string bad = note;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_FALSE(open_note(bad, signer->verifier())) << i;
    EXPECT_FALSE(open_note(note.substr(0, i), signer->verifier())) << i;
  }
  EXPECT_FALSE(open_note(note, Signer::generate("relay.example/audit")->verifier()));
}

TEST(Note, OriginsAndKeysThatAreNone) {
  for (const char* bad : {"", "with space", "with+plus", "line\nbreak", "ümlaut"}) {
    EXPECT_FALSE(Signer::generate(bad)) << bad;
  }
  const std::string good = Signer::generate("a")->verifier().text();
  EXPECT_TRUE(Verifier::parse(good + "\n"));
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'b' ? 'c' : 'b';
    EXPECT_FALSE(Verifier::parse(bad)) << bad;
  }
}

}  // namespace
}  // namespace sluice::audit
