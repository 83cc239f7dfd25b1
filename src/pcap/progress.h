// A line on standard error for what takes longer than two seconds: on a terminal rewritten in
// place, elsewhere one every ten.
#pragma once

#include <unistd.h>

#include <chrono>

#include <fmt/format.h>

namespace sluice::capture {

class Progress {
 public:
  void step() {
    if (++packets_ % kLookEvery != 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + (terminal_ ? std::chrono::milliseconds(300) : std::chrono::milliseconds(10'000));
    shown_ = true;
    fmt::print(stderr, "{}{} packets{}", terminal_ ? "\r" : "", packets_, terminal_ ? "" : "\n");
  }
  // Before anything else is printed.
  void end() {
    if (shown_ && terminal_) fmt::print(stderr, "\r\033[K");
    shown_ = false;
  }

 private:
  static constexpr uint64_t kLookEvery = 1'024;

  uint64_t packets_ = 0;
  bool terminal_ = isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_ =
      std::chrono::steady_clock::now() + std::chrono::seconds(2);
};

}  // namespace sluice::capture
