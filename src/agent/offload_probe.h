// Whether the path to the relay takes datagrams that the kernel, or the link, cuts into packets
// (UDP_SEGMENT): asked by a ping in such a datagram, since some virtual links deliver it uncut, and
// a relay drops what it then sees. Until there is an answer, and where there is none, each datagram
// leaves by itself. One thread; no clock.
#pragma once

#include <functional>
#include <optional>

#include "agent/now.h"

namespace sluice::agent {

class OffloadProbe {
 public:
  static constexpr unsigned kTries = 4;
  static constexpr uint64_t kEveryMs = 1'500;  // above the second in which a relay answers once

  enum class Verdict : uint8_t { kAsking, kYes, kNo };

  // `ask` sends a ping and something of its size behind it as one, and returns its value: none
  // where that cannot be now.
  explicit OffloadProbe(std::function<std::optional<uint64_t>(Now)> ask) : ask_(std::move(ask)) {}

  // The path is another one.
  void restart() { *this = OffloadProbe(std::move(ask_)); }
  void on_answer(uint64_t value) {
    if (value_ && *value_ == value) verdict_ = Verdict::kYes;
  }
  // This kernel cannot.
  void give_up() { verdict_ = Verdict::kNo; }
  void tick(Now now) {
    if (verdict_ != Verdict::kAsking || now.mono_ms < next_ms_) return;
    if (asked_ == kTries) {
      verdict_ = Verdict::kNo;
      return;
    }
    next_ms_ = now.mono_ms + kEveryMs;
    if (const auto value = ask_(now)) {
      value_ = value;
      ++asked_;
    }
  }
  uint64_t deadline() const { return verdict_ == Verdict::kAsking ? next_ms_ : kNever; }
  Verdict verdict() const { return verdict_; }

 private:
  std::function<std::optional<uint64_t>(Now)> ask_;
  Verdict verdict_ = Verdict::kAsking;
  std::optional<uint64_t> value_;
  uint64_t next_ms_ = 0;
  unsigned asked_ = 0;
};

}  // namespace sluice::agent
