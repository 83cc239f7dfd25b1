// What one call has under way on its pair's streams: bytes that wait to leave, bytes that nobody
// has read, and the credit of both directions. Plain values of a Call; one thread.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>

#include "base/bytes.h"

namespace sluice::agent {

// What either side may send before the other has given credit, and the most that is given.
inline constexpr uint64_t kFirstCredit = 64u << 10;
inline constexpr uint64_t kMostCredit = 4u << 20;
// What a call takes from its user while the association has no room.
inline constexpr size_t kMostQueued = 256u << 10;

// Bytes in the order they came, taken from the front in pieces.
class ByteQueue {
 public:
  void push(Bytes bytes) {
    if (bytes.empty()) return;
    size_ += bytes.size();
    if (!parts_.empty() && parts_.back().size() + bytes.size() <= kPart) {
      parts_.back().insert(parts_.back().end(), bytes.begin(), bytes.end());
    } else {
      parts_.push_back(to_buffer(bytes));
    }
  }
  // Valid until the next push or pop.
  Bytes front() const { return parts_.empty() ? Bytes{} : Bytes(parts_.front()).subspan(offset_); }
  void pop(size_t n) {
    size_ -= n;
    while (n > 0) {
      const size_t here = parts_.front().size() - offset_;
      if (n < here) {
        offset_ += n;
        return;
      }
      n -= here;
      parts_.pop_front();
      offset_ = 0;
    }
  }
  // The first n bytes, to the end of `out`.
  void copy_to(Buffer& out, size_t n) const {
    size_t skip = offset_;
    for (auto part = parts_.begin(); n > 0; ++part) {
      const Bytes here = Bytes(*part).subspan(skip, std::min(n, part->size() - skip));
      out.insert(out.end(), here.begin(), here.end());
      n -= here.size();
      skip = 0;
    }
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void clear() {
    parts_.clear();
    size_ = offset_ = 0;
  }

 private:
  static constexpr size_t kPart = 16u << 10;
  std::deque<Buffer> parts_;
  size_t offset_ = 0;
  size_t size_ = 0;
};

struct PipeOut {
  ByteQueue bytes;
  std::optional<uint16_t> end;     // the status that it ends with behind them
  std::optional<uint16_t> stream;  // while it has one
  Buffer first;  // the caller's first message, as the envelope commits to it; until it was heard
  bool begun = false;     // the peer was told which call the stream is
  bool ended = false;     // the end was handed over
  uint64_t begun_ms = 0;  // mono_ms
  uint64_t sent = 0;
  uint64_t allowed = kFirstCredit;
};

struct PipeIn {
  ByteQueue bytes;
  std::optional<uint16_t> end;  // what came behind them
  bool begun = false;
  uint64_t received = 0;
  uint64_t granted = kFirstCredit;
  uint64_t window = kFirstCredit;
  uint64_t granted_ms = 0;  // when last

  uint64_t consumed() const { return received - bytes.size(); }
  bool credit_due() const { return !end && granted - consumed() < window / 2 + 1; }
  // The window that is due now. What was used up in no time had a reader that keeps pace.
  uint64_t next_window(uint64_t mono_ms) const {
    const bool quick = mono_ms < granted_ms + kQuickMs && window < kMostCredit;
    return quick ? 2 * window : window;
  }
  void grant(uint64_t total, uint64_t mono_ms) {
    granted = total;
    window = total - consumed();
    granted_ms = mono_ms;
  }

 private:
  static constexpr uint64_t kQuickMs = 200;
};

}  // namespace sluice::agent
