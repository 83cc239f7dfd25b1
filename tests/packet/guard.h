// While a guard lives, the thread that made it is a worker in the middle of a round: whatever it
// allocates, and every system call it makes (futex, write and mmap among them), is a failure of the
// test. Builds with a sanitizer trap nothing: the sanitizer's own runtime allocates and calls.
#pragma once

#include <string>

namespace rig {

class WorkerGuard {
 public:
  WorkerGuard();
  ~WorkerGuard();
  WorkerGuard(const WorkerGuard&) = delete;
  WorkerGuard& operator=(const WorkerGuard&) = delete;

  // Whether this build and kernel trap allocations and system calls.
  static bool traps_allocations();
  static bool traps_system_calls();
};

// From now on memory is overwritten when it is freed: what is found in it later is held by
// somebody. Where allocations are trapped.
void wipe_what_is_freed();

// What guarded threads did since the last call, in words; empty if nothing. Any thread.
std::string take_trespasses();

}  // namespace rig
