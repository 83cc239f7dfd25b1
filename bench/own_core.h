// While one lives, the calling thread has its core before every ordinary thread, as a worker has on
// an appliance. For stretches far below a second; without the privilege it changes nothing.
#pragma once

#include <sched.h>

namespace sluice::bench {

class OwnCore {
 public:
  OwnCore() {
    const sched_param first{.sched_priority = 1};
    (void)sched_setscheduler(0, SCHED_FIFO, &first);
  }
  ~OwnCore() {
    const sched_param ordinary{.sched_priority = 0};
    (void)sched_setscheduler(0, SCHED_OTHER, &ordinary);
  }
  OwnCore(const OwnCore&) = delete;
  OwnCore& operator=(const OwnCore&) = delete;
};

}  // namespace sluice::bench
