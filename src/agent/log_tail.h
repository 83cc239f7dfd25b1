// The daemon's last lines of log, for `sluice-agent logs`: a sink beside standard error. One
// thread, that of the event loop, which also is the only one that logs.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace sluice::agent {

class LogTail {
 public:
  static constexpr size_t kMost = 1'000;

  void add(std::string line) {
    lines_.push_back(std::move(line));
    ++next_;
    if (lines_.size() > kMost) lines_.pop_front();
  }
  // Those from number `from` on that are still here, the oldest first.
  std::vector<std::string> since(uint64_t from) const {
    const uint64_t first = next_ - lines_.size();
    const auto skip = static_cast<std::ptrdiff_t>(from > first ? std::min(from, next_) - first : 0);
    return {lines_.begin() + skip, lines_.end()};
  }
  uint64_t next() const { return next_; }

 private:
  std::deque<std::string> lines_;
  uint64_t next_ = 0;
};

// What the process logs from now on is kept as well.
std::shared_ptr<LogTail> keep_log_tail();

}  // namespace sluice::agent
