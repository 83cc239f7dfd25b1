// What a worker's whole loop costs per packet: fed and emptied by the thread that polls, only the
// polling timed.
#pragma once

#include <memory>
#include <vector>

#include "bench/feeder.h"

namespace sluice::bench {

using Feeders = std::vector<std::unique_ptr<Feeder>>;  // one for each worker

// Until every launched lcore has returned, asleep: the main thread's core may be a worker's.
void wait_for_lcores();

// A batch through worker `w`, on the calling thread. Ticks.
uint64_t relay_stretch(InMemoryRelay& relay, Feeder& feeder, unsigned w);

// Median nanoseconds per packet over slices, with one worker on EAL's last lcore.
double alone_ns(InMemoryRelay& relay, Feeder& feeder, const Traffic& traffic, unsigned slices);

// Millions of packets a second of all workers at the same time, the best of some tries: another
// guest of the host takes from all cores alike, and only ever takes. A try in which packets died
// does not count; kResource if all are like that.
Result<double> together_mpps(InMemoryRelay& relay, Feeders& feeders, const Traffic& traffic);

// The same of the AEAD floor on as many cores: how far this machine lets them be independent.
double together_floor_mpps(InMemoryRelay& relay, Feeders& feeders, const Traffic& traffic);

}  // namespace sluice::bench
