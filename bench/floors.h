// The two floors that a relay cannot go below with this AEAD and these ports (bench/README.md):
// opening and sealing the same packets, and receiving and sending them.
#pragma once

#include "bench/feeder.h"

namespace sluice::bench {

// Opens all packets of the feeder's batch, burst by burst, then seals them for their peers: the
// same keys, order and buffers as the relay's. Ticks.
class GcmFloor {
 public:
  explicit GcmFloor(InMemoryRelay& relay) : relay_(relay) {}
  uint64_t run(Feeder& feeder, const Traffic& traffic, unsigned burst);

 private:
  InMemoryRelay& relay_;
};

// net_ring to net_ring: receive, swap the MAC addresses, transmit. Ticks, for one enqueued batch.
uint64_t forward_floor(uint16_t port, uint16_t queue, unsigned burst);

}  // namespace sluice::bench
