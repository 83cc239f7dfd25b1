// What data frames of good agents wait for where their worker also opens calls: from RX to TX, with
// the calls and without, in turns.
#pragma once

#include "bench/schedule.h"

namespace sluice::bench {

struct LatencyOptions {
  double data_per_s = 100'000;
  double calls_per_s = 50'000;
  size_t payload = 64;
  double seconds = 0.5;  // of each turn
  unsigned turns = 5;
};

struct LatencyFigures {
  // Medians over the turns, microseconds.
  double p50_alone = 0, p99_alone = 0;
  double p50_beside = 0, p99_beside = 0;
  double added_p99 = 0;
  double calls_per_s = 0;  // that were opened and accepted
  double busy_alone = 0, busy_beside = 0;
  unsigned hiccups = 0;  // over all turns
  double longest_us = 0;
  uint64_t lost = 0;    // data frames that did not leave, and calls that were not accepted
  std::string reasons;  // of that: denials and drops of the relay's whole life
  std::string problem;
};

// On the worker's thread; agents from `first_caller` on call, the others send data.
LatencyFigures measure_call_latency(InMemoryRelay& relay, Callers& callers, Player& player,
                                    const LatencyOptions& options, uint32_t first_caller);

}  // namespace sluice::bench
