// A piece of work on the worker's core, with control beside it on the main thread as in the relay:
// its rounds, its store and its audit log go on meanwhile, and the relay's verifiers if it has
// some.
#pragma once

#include <functional>

#include "bench/in_memory.h"

namespace sluice::bench {

// Returns when `work` has, which runs on EAL's first worker lcore.
void run_beside_control(InMemoryRelay& relay, const std::function<void()>& work);

}  // namespace sluice::bench
