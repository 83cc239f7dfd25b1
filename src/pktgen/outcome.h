// What one measurement gave: the sums over all workers.
#pragma once

#include <string>
#include <vector>

#include "pktgen/stats.h"
#include "pktgen/traffic.h"

namespace sluice::pktgen {

struct TimelinePoint {
  double t = 0;  // seconds from the start, at the end of the interval
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t blocked = 0;  // within the interval, like the others
};

struct FloodOutcome {
  FloodKind kind = FloodKind::kRandom;
  uint64_t sent = 0;
  double seconds = 0;
};

struct Outcome {
  double offered_pps = 0;  // 0: as many as possible
  double seconds = 0;      // while traffic was sent
#define X(name, text) uint64_t name = 0;
  SLUICE_PKTGEN_COUNTERS(X)
#undef X
  double hiccup_us = 0;
  double hiccup_max_us = 0;
  Histogram latency;
  Histogram late;
  std::vector<FloodOutcome> floods;
  std::vector<TimelinePoint> timeline;
  bool interrupted = false;

  uint64_t lost() const {
    return sent > received ? sent - received : 0;
  }
  double sent_pps() const {
    return seconds > 0 ? double(sent) / seconds : 0;
  }
  double received_pps() const {
    return seconds > 0 ? double(received) / seconds : 0;
  }
};

}  // namespace sluice::pktgen
