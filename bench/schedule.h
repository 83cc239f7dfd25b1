// Frames that were sealed ahead of the clock, each with the time at which it is due, played into
// worker 0's RX ring by the worker's own thread between its rounds; and when each left. A frame
// that fell due while a round ran counts from when it was due.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <vector>

#include "bench/callers.h"

struct rte_eth_rxtx_callback;

namespace sluice::bench {

class Schedule {
 public:
  static constexpr unsigned kTags = 16;

  // `at`: seconds from the start; in ascending order. `tag`: what it is counted under, 1 to 15; 0:
  // not at all.
  SealedFrame& add(double at, uint8_t tag);
  size_t size() const { return entries_.size(); }
  size_t count(uint8_t tag) const {
    return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                             [tag](const Entry& e) { return e.tag == tag; }));
  }
  // Since the first frame was made. What was signed then does not stay good for ever.
  static constexpr double kFreshSeconds = 50;
  bool is_fresh() const {
    return std::chrono::steady_clock::now() - began_ < std::chrono::duration<double>(kFreshSeconds);
  }
  double seconds() const { return entries_.empty() ? 0 : entries_.back().at; }

 private:
  friend class Player;
  struct Entry {
    double at;
    uint8_t tag;
    SealedFrame frame;
  };
  std::vector<Entry> entries_;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

struct Played {
  // Microseconds from RX to TX, by tag, of frames that left with the size that they came with: a
  // call that is denied goes back as a shorter frame.
  std::array<std::vector<double>, Schedule::kTags> us;
  double busy = 0;           // share of the time in rounds that found a packet
  double seconds = 0;        // that it took
  unsigned hiccups = 0;      // rounds of the loop above kHiccupUs
  double longest_us = 0;     // of them
  unsigned did_not_fit = 0;  // frames for which there was no buffer or no room in the ring
  static constexpr double kHiccupUs = 300;
};

// One at a time, and one for each relay. Made by the main thread; `play` on the worker's.
class Player {
 public:
  explicit Player(InMemoryRelay& relay);
  ~Player();
  Played play(const Schedule& schedule);

 private:
  // What is due into the RX ring, some of it at a time; as at a NIC, what does not fit is lost.
  unsigned give(const Schedule& schedule, size_t& at, uint64_t start, uint64_t now, Played& out);
  void collect();

  InMemoryRelay& relay_;
  int field_ = -1;  // of mbufs: due time and tag
  const rte_eth_rxtx_callback* callback_ = nullptr;
  std::array<std::vector<uint64_t>, Schedule::kTags> ticks_;
  friend struct PlayerCallback;
};

}  // namespace sluice::bench
