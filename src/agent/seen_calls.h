// Which of a peer's calls this agent has answered (docs/protocol.md §7), so that no envelope starts
// anything twice: a window over the ids that the peer counts up, as long as its calls may overtake
// each other. What lies before it counts as seen. Plain value.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice::agent {

class SeenCalls {
 public:
  static constexpr uint64_t kWindow = 16'384;

  bool seen(uint64_t id) const {
    if (bits_.empty() || id > highest_) return false;
    return highest_ - id >= kWindow || (bits_[word(id)] >> (id % 64) & 1) != 0;
  }
  void note(uint64_t id) {
    if (bits_.empty()) {
      bits_.assign(kWords, 0);
      highest_ = id;
    }
    // Words that the window moves onto are of ids that it has left.
    if (id > highest_) {
      if (id - highest_ >= kWindow) {
        bits_.assign(kWords, 0);
      } else {
        for (uint64_t w = highest_ / 64 + 1; w <= id / 64; ++w) bits_[w % kWords] = 0;
      }
      highest_ = id;
    }
    if (highest_ - id < kWindow) bits_[word(id)] |= uint64_t{1} << (id % 64);
  }

 private:
  static constexpr uint64_t kWords = kWindow / 64 + 1;  // its ends share no word
  static size_t word(uint64_t id) { return id / 64 % kWords; }
  std::vector<uint64_t> bits_;
  uint64_t highest_ = 0;
};

}  // namespace sluice::agent
