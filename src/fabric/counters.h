// Per-worker counters, in the arena. Each block has one writer, its worker; control reads. A
// relaxed load and store instead of a locked add: nobody else writes.
#pragma once

#include <atomic>
#include <cstdint>

#include "fabric/drop_reason.h"
#include "wire/call_reason.h"

namespace sluice::fabric {

class Counter {
 public:
  void add(uint64_t n) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void raise(uint64_t n) noexcept {
    if (n > value_.load(std::memory_order_relaxed)) value_.store(n, std::memory_order_relaxed);
  }
  void set(uint64_t n) noexcept { value_.store(n, std::memory_order_relaxed); }
  uint64_t get() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// X(member, name, sentence). The balance of every worker, at rest:
//   rx + handed_in + injected + challenges + credentials + resumed
//     = tx + punted + handed_out + parked + sum of drops
#define SLUICE_WORKER_COUNTERS(X)                                                                  \
  X(rx_packets, "rx_packets", "frames received from the worker's queues")                          \
  X(rx_bytes, "rx_bytes", "bytes of those frames, from the Ethernet header on, without FCS")       \
  X(tx_packets, "tx_packets", "frames taken by the NIC")                                           \
  X(tx_bytes, "tx_bytes", "bytes of those frames")                                                 \
  X(forwarded, "forwarded", "DATA packets of an agent sealed for its peer and taken by the NIC")   \
  X(punted, "punted", "packets given to the control thread")                                       \
  X(handed_out, "handed_out", "authentic packets given to the agent's owner worker")               \
  X(handed_in, "handed_in", "packets taken from other workers")                                    \
  X(injected, "injected", "packets taken from the control thread")                                 \
  X(responses, "responses", "ARP, neighbour discovery, echo, ping and VERSION answers")            \
  X(challenges, "challenges", "roaming challenges sent")                                           \
  X(parked, "parked",                                                                              \
    "packets that were set aside: call frames until a signature is verified, and on a saturated "  \
    "worker all until their tenant's turn")                                                        \
  X(resumed, "resumed", "of those, taken up again")                                                \
  X(verified, "verified", "signatures of calls that were verified, good or bad")                   \
  X(accepted, "accepted", "calls whose CALL_ACCEPT was verified and forwarded")                    \
  X(calls_closed, "calls_closed", "calls that ended, by both sides, by idleness or by revocation") \
  X(calls_parked, "calls_parked", "calls that were set aside until somebody approves them")        \
  X(circuits_opened, "circuits_opened", "edges whose calls are refused since too many failed")     \
  X(denials, "denials", "CALL_DENY sent")                                                          \
  X(credentials, "credentials", "CREDENTIAL frames made, before calls that need one")              \
  X(roamed, "roamed", "endpoints moved after an answered challenge")                               \
  X(moved, "moved", "agents given to another worker")                                              \
  X(checksum_touched, "checksum_touched",                                                          \
    "payloads under the header seal read for a UDP checksum that the NIC had not marked good")     \
  X(checksum_unfilled, "checksum_unfilled",                                                        \
    "HELLOs whose UDP checksum a virtual link left unfilled: accepted (mac1 holds); ethtool -K "   \
    "DEV tx off at the sender")                                                                    \
  X(checksum_bad, "checksum_bad", "HELLOs with a wrong UDP checksum: accepted, mac1 holds")        \
  X(polls, "polls", "rounds of the poll loop")                                                     \
  X(shared_polls, "shared_polls", "rounds in which tenants took turns: the worker was saturated")  \
  X(busy_polls, "busy_polls", "rounds that found a packet")                                        \
  X(busy_ticks, "busy_ticks", "time spent in those rounds, in TSC ticks")                          \
  X(longest_poll_ticks, "longest_poll_ticks", "the longest round, in TSC ticks")

struct alignas(64) WorkerCounters {
#define X(id, name, text) Counter id;
  SLUICE_WORKER_COUNTERS(X)
#undef X
  Counter drops[kDropReasons];
  Counter calls[wire::kCallReasons];  // decisions
};

struct CounterInfo {
  const char* name;
  const char* text;
  Counter WorkerCounters::*member;
};

inline constexpr CounterInfo kWorkerCounterTable[] = {
#define X(id, name, text) {name, text, &WorkerCounters::id},
    SLUICE_WORKER_COUNTERS(X)
#undef X
};

}  // namespace sluice::fabric
