// A schedule of packets at a fixed rate, in TSC ticks. What falls behind by more than `kBacklog`
// packets is given up and counted, so that a pause of the generator does not become a burst that
// the relay has to answer for. One thread.
#pragma once

#include <cstdint>

namespace sluice::pktgen {

class Pacer {
 public:
  static constexpr uint64_t kBacklog = 128;

  // pps 0: always due.
  void begin(double pps, uint64_t hz, uint64_t now) noexcept {
    per_tick_ = pps / double(hz);
    start_ = now;
    done_ = 0;
  }
  bool max() const noexcept { return per_tick_ == 0; }

  // Packets whose time has come, at most `most`; `skipped` those given up.
  unsigned due(uint64_t now, unsigned most, uint64_t& skipped) noexcept {
    if (max()) return most;
    const auto wanted = static_cast<uint64_t>(double(now - start_) * per_tick_);
    if (wanted <= done_) return 0;
    uint64_t n = wanted - done_;
    if (n > kBacklog) {
      skipped += n - kBacklog;
      done_ += n - kBacklog;
      n = kBacklog;
    }
    return n < most ? static_cast<unsigned>(n) : most;
  }
  // When the first packet that `due` meant should have left.
  uint64_t intended() const noexcept {
    return start_ + static_cast<uint64_t>(double(done_ + 1) / per_tick_);
  }
  void sent(unsigned n) noexcept { done_ += n; }

 private:
  double per_tick_ = 0;
  uint64_t start_ = 0;
  uint64_t done_ = 0;
};

}  // namespace sluice::pktgen
