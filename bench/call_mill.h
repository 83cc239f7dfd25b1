// Whole calls through one worker, as many as it can do: CALL_OPEN, CALL_ACCEPT and both sides'
// CALL_CLOSE, made by the worker's own thread between timed stretches. Each stretch has the opens
// of one group of calls, the acceptances of the one before and the closes of the one before that,
// so that everything belongs to a call that is where it should be.
#pragma once

#include <array>
#include <deque>

#include "bench/callers.h"

namespace sluice::bench {

class CallMill {
 public:
  static constexpr unsigned kGroup = 120;  // calls; twice as many signatures fit what may wait
  static constexpr unsigned kFrames = 4 * kGroup;
  static constexpr unsigned kSignatures = 2 * kGroup;

  CallMill(InMemoryRelay& relay, Callers& callers);
  ~CallMill();

  // Signs and seals the next stretch. False: the pool is empty.
  bool prepare();
  // All of it into the RX ring.
  void enqueue();
  // Whether packets or signatures wait.
  bool waits() const;
  // Prepares, and polls until nothing waits any more: {ticks of that, signatures}.
  std::pair<uint64_t, uint64_t> stretch();
  // Empties the TX ring; number of frames.
  unsigned collect();
  // What became of all calls until now, if it is not what should have; else empty.
  std::string problem() const;
  uint64_t opened() const { return opened_; }
  // The last ones, of every agent one where there have been so many.
  const std::deque<SignedCall>& lately() const { return lately_; }

 private:
  uint32_t next_caller();

  InMemoryRelay& relay_;
  Callers& callers_;
  std::vector<uint32_t> order_;
  size_t at_ = 0;
  std::array<std::vector<SignedCall>, 3> groups_;  // newest first
  std::vector<rte_mbuf*> batch_;
  std::deque<SignedCall> lately_;
  uint64_t opened_ = 0;
};

}  // namespace sluice::bench
