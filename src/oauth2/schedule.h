// When a token is asked for again. Pure functions; the clock and the dice are the caller's.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sluice::oauth2 {

// Of a token's life, in ms: what is used up when the next one is asked for. Four fifths, and 30 s
// at least for the asking; half of a life that is hardly longer than that.
constexpr uint64_t refresh_after_ms(uint64_t life_ms) {
  constexpr uint64_t kAheadMs = 30'000;
  const uint64_t fifths = life_ms / 5 * 4;
  const uint64_t ahead = life_ms > kAheadMs ? life_ms - kAheadMs : 0;
  return std::max(life_ms / 2, std::min(fifths, ahead));
}

// Between failures. Doubles from one second to a minute; from half a minute to ten where only a
// person can help, so that nobody's account is locked by the asking.
class RetryPace {
 public:
  static constexpr uint64_t kFirstMs = 1'000, kMostMs = 60'000;
  static constexpr uint64_t kLastingFirstMs = 30'000, kLastingMostMs = 600'000;
  static constexpr uint64_t kMostAskedMs = 3'600'000;

  // `asked_ms`: what the endpoint's Retry-After wants, 0: nothing. `random` decides within the
  // upper half: clients that failed together do not come back together.
  uint64_t next(bool lasting, uint64_t asked_ms, uint64_t random) {
    const uint64_t first = lasting ? kLastingFirstMs : kFirstMs;
    const uint64_t most = lasting ? kLastingMostMs : kMostMs;
    const uint64_t full = std::min(first << std::min(failures_, 16u), most);
    ++failures_;
    const uint64_t drawn = full / 2 + random % (full / 2 + 1);
    return std::max(drawn, std::min(asked_ms, kMostAskedMs));
  }
  void succeeded() { failures_ = 0; }

 private:
  unsigned failures_ = 0;
};

}  // namespace sluice::oauth2
