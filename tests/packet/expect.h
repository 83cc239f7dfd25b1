// The form of every negative packet test: send one thing, and then nothing was sent, exactly the
// expected counter moved, the books balance, and every buffer is back.
#pragma once

#include <gtest/gtest.h>

#include "packet/rig.h"

namespace rig {

// Counters that say how the relay worked rather than what became of packets.
inline bool is_effort(const std::string& name) {
  return name == "polls" || name == "busy_polls" || name == "busy_ticks" ||
         name == "longest_poll_ticks";
}

inline std::map<std::string, uint64_t> moved(const std::map<std::string, uint64_t>& before,
                                             const std::map<std::string, uint64_t>& after) {
  std::map<std::string, uint64_t> out;
  for (const auto& [name, value] : after) {
    if (!is_effort(name) && value != before.at(name)) out[name] = value - before.at(name);
  }
  return out;
}

// Injects `frame` and expects it to die for `reason` alone.
inline void expect_drop(Rig& r, unsigned port, const Buf& frame, const std::string& reason,
                        unsigned queue = 0) {
  SCOPED_TRACE("expected reason: " + reason);
  r.drain_all();
  const size_t in_use = r.buffers_in_use();
  const auto before = r.counters();
  r.inject(port, frame, queue);
  r.poll_workers();
  EXPECT_TRUE(r.drain_all().empty()) << "something was sent";
  const std::map<std::string, uint64_t> expected = {
      {"rx_packets", 1}, {"rx_bytes", frame.size()}, {"drop." + reason, 1}};
  EXPECT_EQ(moved(before, r.counters()), expected);
  r.check_balance();
  EXPECT_EQ(r.buffers_in_use(), in_use);
  produced_reasons().insert(reason);
}

}  // namespace rig
