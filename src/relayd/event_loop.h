// The control thread's loop: signals, the admin socket, the store's answers, and Control::poll with
// a pause that it asks for. It blocks between rounds and never spins, so it may run under
// SCHED_FIFO beside a worker on the same core. Main thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "control/control.h"

namespace sluice::relayd {

class EventLoop {
 public:
  // To be created before EAL, which ties this thread to one core.
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Any thread: runs `f` on the loop's thread.
  void post(std::function<void()> f);

  // The admin socket. kConflict: another relay listens there.
  Result<void> serve_admin(control::Control& control);

  // Where neither workers nor control run; if there is none, beside control.
  std::vector<unsigned> spare_cores(const fabric::Topology& topology) const;

  // Until SIGTERM or SIGINT; SIGHUP calls `reload`.
  void run(control::Control& control, const std::function<void()>& reload);

 private:
  Result<void> serve_metrics(const control::ObservabilityConfig& config);

  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::relayd
