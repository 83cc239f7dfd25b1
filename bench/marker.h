// A worker's loop in the revoke bench: the product's own rounds, and behind the round that reports
// a new quiescent point a marker on each of the worker's TX queues. The queues are FIFO, so what
// stands behind the marker was handed over after the report. Runs on the worker's lcore; the main
// thread reads.
#pragma once

#include <atomic>
#include <cstdint>

#include <optional>

#include "fabric/counters.h"

struct rte_mbuf;

namespace sluice::bench {

class InMemoryRelay;

struct Marker {
  uint64_t token;  // that was reported
  uint64_t ticks;  // right after the round that reported it
};

struct alignas(64) WorkerWatch {
  fabric::Counter idle;      // rounds that found nothing to do
  fabric::Counter unmarked;  // markers without a buffer or room in the queue: proves nothing then
};

// Until `stop`. Online in QSBR all the while.
void poll_and_mark(InMemoryRelay& relay, unsigned worker, WorkerWatch& watch,
                   const std::atomic<bool>& stop);

// None for any other frame.
std::optional<Marker> read_marker(rte_mbuf* m);

}  // namespace sluice::bench
