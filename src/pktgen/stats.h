// What one traffic worker counts in one measurement. Counters: written by the worker, read by main
// at any time. Histograms: read when the worker rests.
#pragma once

#include <atomic>
#include <cstdint>

#include "pktgen/histogram.h"

namespace sluice::pktgen {

class Counter {
 public:
  void add(uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract() noexcept {
    value_.store(value_.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
  void raise(uint64_t n) noexcept {
    if (n > get()) value_.store(n, std::memory_order_relaxed);
  }
  void clear() noexcept { value_.store(0, std::memory_order_relaxed); }
  uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// X(name, what it counts)
#define SLUICE_PKTGEN_COUNTERS(X)                                             \
  X(sent, "packets of the traffic that the queue took")                       \
  X(received, "packets of the traffic that came back from the relay")         \
  X(opened, "packets opened and checked")                                     \
  X(bad, "opened packets with a wrong tag, frame or content")                 \
  X(duplicates, "opened packets whose number came before")                    \
  X(reordered, "opened packets that came after a later one of their flow")    \
  X(untimed, "opened packets whose time of sending was no longer known")      \
  X(blocked, "packets given up because the transmit queue was full")          \
  X(skipped, "packets given up because the generator was late")               \
  X(probes, "packets of the traffic that were enlarged to carry a stamp")     \
  X(own, "KEEPALIVE and CONTROL from the relay")                              \
  X(strays, "DATA of another size, or left over from an earlier measurement") \
  X(unknown, "DATA for a receiver index that is not ours")                    \
  X(greetings, "WELCOME, RETRY and VERSION")                                  \
  X(questions, "ARP and neighbour solicitations answered")                    \
  X(others, "whatever else was received")                                     \
  X(hiccups, "pauses of the worker's own loop above 20 us")                   \
  X(hiccup_ticks, "their sum, TSC ticks")                                     \
  X(hiccup_max, "the longest, TSC ticks")                                     \
  X(flood_blocked, "flood packets given up because the transmit queue was full")

struct alignas(64) Stats {
#define X(name, text) Counter name;
  SLUICE_PKTGEN_COUNTERS(X)
#undef X
  Counter floods[7];  // by FloodKind
  Histogram latency;  // ns
  Histogram late;     // ns

  void clear() noexcept {
#define X(name, text) name.clear();
    SLUICE_PKTGEN_COUNTERS(X)
#undef X
    for (auto& f : floods) f.clear();
    latency.clear();
    late.clear();
  }
};

}  // namespace sluice::pktgen
