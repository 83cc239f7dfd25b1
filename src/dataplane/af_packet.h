// What DPDK's net_af_packet leaves to its user: rings with frames that hold the MTU, a queue for
// every worker, and an interface that carries the MTU. It reports neither size to ethdev.
#pragma once

#include <string>

#include "base/error.h"
#include "fabric/topology.h"

namespace sluice::dataplane {

bool is_af_packet(const fabric::PortConfig& port);

// More would not fit the 16 bits that an mbuf has for its size.
inline constexpr uint32_t kLargestRingFrame = 32768;

// Bytes of a frame of the port's ring: framesz= of its device as it stands there (0 if that is no
// number), else what its MTU needs. A buffer must be able to hold as much.
uint32_t af_packet_frame(const fabric::PortConfig& port);

// The device with the arguments that the topology needs and its string lacks.
std::string af_packet_device(const fabric::PortConfig& port, unsigned queue_pairs);

// kConfig or kResource, with the remedy. `queues`: of the device as it was created; `polled`: those
// that the core map polls.
Result<void> check_af_packet(const fabric::PortConfig& port, unsigned queues, unsigned polled);

}  // namespace sluice::dataplane
