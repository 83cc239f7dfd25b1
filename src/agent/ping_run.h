// One run of end-to-end pings to a peer: when to send the next, what came back, and the summary. No
// I/O and no clock: microseconds of a steady clock are passed in. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

namespace sluice::agent {

struct PingOptions {
  uint64_t count = 4;
  uint64_t interval_us = 1'000'000;
  uint64_t window = 64;  // pings under way at once; a lost one frees its place after the timeout
  uint64_t size = 56;    // bytes of a ping's body, its id included
  uint64_t timeout_ms = 2'000;
};

struct PingSummary {
  uint64_t sent = 0, received = 0, lost = 0;
  double min_us = 0, p50_us = 0, p90_us = 0, p99_us = 0, p999_us = 0, max_us = 0;
};

class PingRun {
 public:
  // Ids are first_id, first_id + 1, …; none may be 0.
  PingRun(const PingOptions& options, uint64_t first_id, uint64_t now_us);

  // The id to send now, if it is time for one; 0 if not. Ask again until 0, then wake at wake_us().
  uint64_t next(uint64_t now_us);
  void on_pong(uint64_t id, uint64_t now_us);
  bool done(uint64_t now_us);
  uint64_t wake_us() const;
  PingSummary summary() const;

 private:
  void expire(uint64_t now_us);

  PingOptions options_;
  uint64_t first_id_;
  uint64_t started_us_;
  uint64_t sent_ = 0;
  std::unordered_map<uint64_t, uint64_t> open_;        // id → sent at
  std::deque<std::pair<uint64_t, uint64_t>> by_time_;  // sent at, id
  std::vector<uint64_t> rtts_us_;
};

}  // namespace sluice::agent
