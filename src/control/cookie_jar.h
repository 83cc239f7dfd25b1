// The secrets behind cookies: replaced every 60 s, the one before still accepted, so that none is
// older than 120 s (wire.md §4). Control thread.
#pragma once

#include "base/clock.h"
#include "crypto/cookie.h"
#include "wire/ip.h"

namespace sluice::control {

class CookieJar {
 public:
  explicit CookieJar(const Clock& clock) : clock_(clock), rotated_(clock.ticks()) {
    crypto::random_bytes({current_.data(), current_.size()});
    crypto::random_bytes({previous_.data(), previous_.size()});
  }

  crypto::Cookie make(const wire::PathHeader& path) {
    rotate();
    return crypto::make_cookie(current_, path.remote_ip(), path.remote_port());
  }

  // The two cookies that this source may return now.
  std::array<crypto::Cookie, 2> accepted(const wire::PathHeader& path) {
    rotate();
    return {crypto::make_cookie(current_, path.remote_ip(), path.remote_port()),
            crypto::make_cookie(previous_, path.remote_ip(), path.remote_port())};
  }

 private:
  void rotate() {
    const uint64_t period = clock_.ticks_from_ms(60'000);
    const uint64_t age = clock_.ticks() - rotated_;
    if (age < period) return;
    if (age < 2 * period) {
      previous_ = std::move(current_);
    } else {
      crypto::random_bytes({previous_.data(), previous_.size()});
    }
    crypto::random_bytes({current_.data(), current_.size()});
    rotated_ = clock_.ticks();
  }

  const Clock& clock_;
  uint64_t rotated_;
  crypto::Key256 current_;
  crypto::Key256 previous_;
};

}  // namespace sluice::control
