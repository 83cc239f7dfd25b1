// A bounded queue that gives every source its turn: what waits is kept by a keyed hash of where it
// came from, and taken round the buckets. When it is full, the longest bucket gives something up,
// so that whoever sends most loses first. One thread.
#pragma once

#include <array>
#include <deque>
#include <optional>
#include <utility>

#include "crypto/hash.h"
#include "crypto/secret.h"

namespace sluice::control {

template <typename T>
class FairQueue {
 public:
  static constexpr size_t kBuckets = 256;

  // The key decides which sources share a bucket; one that nobody can foresee keeps a flood from
  // choosing its neighbours.
  explicit FairQueue(size_t capacity, const ByteArray<16>& key = unforeseeable())
      : capacity_(capacity), key_(key) {}

  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }

  // What had to go for it, if it was full: another item, or this one.
  std::optional<T> push(Bytes source, T item) {
    const size_t b = crypto::siphash(key_, source) % kBuckets;
    std::optional<T> gone;
    if (size_ == capacity_) {
      size_t longest = b;
      for (size_t i = 0; i < kBuckets; ++i) {
        if (buckets_[i].size() > buckets_[longest].size()) longest = i;
      }
      if (longest == b) return item;
      gone = std::move(buckets_[longest].back());
      buckets_[longest].pop_back();
      --size_;
    }
    if (!std::exchange(has_turn_[b], true)) turns_.push_back(b);
    buckets_[b].push_back(std::move(item));
    ++size_;
    return gone;
  }

  std::optional<T> pop() {
    while (!turns_.empty()) {
      const size_t b = turns_.front();
      turns_.pop_front();
      auto& bucket = buckets_[b];
      has_turn_[b] = bucket.size() > 1;
      if (bucket.empty()) continue;
      std::optional<T> item = std::move(bucket.front());
      bucket.pop_front();
      if (has_turn_[b]) turns_.push_back(b);
      --size_;
      return item;
    }
    return std::nullopt;
  }

 private:
  static ByteArray<16> unforeseeable() {
    ByteArray<16> key;
    crypto::random_bytes(key);
    return key;
  }

  const size_t capacity_;
  const ByteArray<16> key_;
  size_t size_ = 0;
  std::array<std::deque<T>, kBuckets> buckets_;
  std::deque<size_t> turns_;  // each bucket at most once; one that lost all it had may be there
  std::array<bool, kBuckets> has_turn_{};
};

}  // namespace sluice::control
