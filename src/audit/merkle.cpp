#include "audit/merkle.h"

#include <bit>

#include "crypto/hash.h"

namespace sluice::audit {
namespace {

// The largest power of two below `n`, which is at least 2.
uint64_t split_of(uint64_t n) {
  return std::bit_floor(n - 1);
}

// MTH(D[begin:end]), where begin is a multiple of a power of two that is no less than the length.
Result<Hash> root_between(uint64_t begin, uint64_t end, const SubtreeHash& hash) {
  const uint64_t n = end - begin;
  if (std::has_single_bit(n)) {
    const auto height = static_cast<unsigned>(std::countr_zero(n));
    return hash(height, begin >> height);
  }
  const uint64_t k = split_of(n);
  auto left = root_between(begin, begin + k, hash);
  if (!left) return left;
  auto right = root_between(begin + k, end, hash);
  if (!right) return right;
  return node_hash(*left, *right);
}

}  // namespace

Hash leaf_hash(Bytes entry) noexcept {
  const uint8_t prefix = 0;
  return crypto::sha256({Bytes(&prefix, 1), entry});
}

Hash node_hash(const Hash& left, const Hash& right) noexcept {
  ByteArray<65> all;
  all[0] = 1;
  std::memcpy(all.data() + 1, left.data(), 32);
  std::memcpy(all.data() + 33, right.data(), 32);
  return crypto::sha256({all});
}

Hash Edge::root() const noexcept {
  if (size_ == 0) return crypto::sha256({});
  auto height = static_cast<unsigned>(std::countr_zero(size_));
  Hash out = peaks_[height];
  for (++height; height < 64; ++height) {
    if ((size_ >> height & 1) != 0) out = node_hash(peaks_[height], out);
  }
  return out;
}

Result<std::vector<Hash>> inclusion_proof(uint64_t index, uint64_t size, const SubtreeHash& hash) {
  std::vector<Hash> down;  // from the root to the leaf
  uint64_t begin = 0, end = size;
  while (end - begin > 1) {
    const uint64_t middle = begin + split_of(end - begin);
    const bool left = index < middle;
    auto other = left ? root_between(middle, end, hash) : root_between(begin, middle, hash);
    if (!other) return tl::unexpected(std::move(other.error()));
    down.push_back(*other);
    (left ? end : begin) = middle;
  }
  return std::vector<Hash>(down.rbegin(), down.rend());
}

Result<std::vector<Hash>> consistency_proof(uint64_t first, uint64_t second,
                                            const SubtreeHash& hash) {
  std::vector<Hash> down;
  if (first == 0 || first == second) return down;
  uint64_t begin = 0, end = second;
  bool whole = true;  // SUBPROOF's b: the old tree's root is known to who asks
  while (first != end) {
    const uint64_t middle = begin + split_of(end - begin);
    const bool left = first <= middle;
    auto other = left ? root_between(middle, end, hash) : root_between(begin, middle, hash);
    if (!other) return tl::unexpected(std::move(other.error()));
    down.push_back(*other);
    if (!left) whole = false;
    (left ? end : begin) = middle;
  }
  if (!whole) {
    auto last = root_between(begin, end, hash);
    if (!last) return tl::unexpected(std::move(last.error()));
    down.push_back(*last);
  }
  return std::vector<Hash>(down.rbegin(), down.rend());
}

Result<Hash> root_of(uint64_t size, const SubtreeHash& hash) {
  if (size == 0) return crypto::sha256({});
  return root_between(0, size, hash);
}

bool proves_inclusion(const Hash& leaf, uint64_t index, uint64_t size, std::span<const Hash> proof,
                      const Hash& root) noexcept {
  if (index >= size) return false;
  uint64_t node = index, last = size - 1;
  Hash at = leaf;
  for (const Hash& other : proof) {
    if (last == 0) return false;
    if ((node & 1) != 0 || node == last) {
      at = node_hash(other, at);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      at = node_hash(at, other);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && at == root;
}

bool proves_consistency(uint64_t first, uint64_t second, const Hash& first_root,
                        const Hash& second_root, std::span<const Hash> proof) noexcept {
  if (first > second) return false;
  if (first == second) return proof.empty() && first_root == second_root;
  if (first == 0) return proof.empty() && first_root == crypto::sha256({});
  size_t next = 0;
  uint64_t node = first - 1, last = second - 1;
  while ((node & 1) != 0) {
    node >>= 1;
    last >>= 1;
  }
  Hash old_root = first_root;
  if (!std::has_single_bit(first)) {
    if (proof.empty()) return false;
    old_root = proof[next++];
  }
  Hash new_root = old_root;
  for (; next < proof.size(); ++next) {
    if (last == 0) return false;
    const Hash& other = proof[next];
    if ((node & 1) != 0 || node == last) {
      old_root = node_hash(other, old_root);
      new_root = node_hash(other, new_root);
      while ((node & 1) == 0 && node != 0) {
        node >>= 1;
        last >>= 1;
      }
    } else {
      new_root = node_hash(new_root, other);
    }
    node >>= 1;
    last >>= 1;
  }
  return last == 0 && old_root == first_root && new_root == second_root;
}

}  // namespace sluice::audit
