// The hashes of RFC 6962, section 2: a tree over entries that only ever grows at its right edge,
// and what proves that an entry is in it, or that one tree continues another. Pure functions and
// one plain value; no I/O, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice::audit {

using Hash = ByteArray<32>;  // SHA-256

Hash leaf_hash(Bytes entry) noexcept;
Hash node_hash(const Hash& left, const Hash& right) noexcept;

// The right edge: a complete subtree's root for every bit that is set in the size, which is all
// that a tree needs to grow.
class Edge {
 public:
  uint64_t size() const noexcept { return size_; }
  // Of the empty tree: SHA-256 of nothing.
  Hash root() const noexcept;

  // The next subtree of 2^height leaves; the size must be a multiple of that. `completed` hears of
  // every subtree that this makes whole, from the one that was given on, with its height.
  template <typename F>
  void append(Hash hash, unsigned height, F&& completed) {
    for (;; ++height) {
      completed(height, hash);
      const uint64_t bit = uint64_t{1} << height;
      if ((size_ & bit) == 0) {
        peaks_[height] = hash;
        size_ += bit;
        return;
      }
      hash = node_hash(peaks_[height], hash);
      size_ -= bit;
    }
  }

 private:
  uint64_t size_ = 0;
  std::array<Hash, 64> peaks_{};  // by height; those of the size's bits
};

// A complete subtree's root: leaves [index << height, (index + 1) << height).
using SubtreeHash = std::function<Result<Hash>(unsigned height, uint64_t index)>;

// RFC 6962, 2.1.1 and 2.1.2. `index` < `size`; `first` <= `second`.
Result<std::vector<Hash>> inclusion_proof(uint64_t index, uint64_t size, const SubtreeHash& hash);
Result<std::vector<Hash>> consistency_proof(uint64_t first, uint64_t second,
                                            const SubtreeHash& hash);
// The root of the first `size` leaves.
Result<Hash> root_of(uint64_t size, const SubtreeHash& hash);

// RFC 9162, 2.1.3.2 and 2.1.4.2. False: the proof does not hold, whatever it is.
bool proves_inclusion(const Hash& leaf, uint64_t index, uint64_t size, std::span<const Hash> proof,
                      const Hash& root) noexcept;
bool proves_consistency(uint64_t first, uint64_t second, const Hash& first_root,
                        const Hash& second_root, std::span<const Hash> proof) noexcept;

}  // namespace sluice::audit
