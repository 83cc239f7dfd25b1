// A worker: polls its RX queues and rings and runs the stages. Built by the main thread, then used
// by its own lcore alone until `stop` was seen; `poll_once` is the whole of its work, so tests
// drive it without a thread.
#pragma once

#include <atomic>

#include "dataplane/burst.h"
#include "dataplane/context.h"

namespace sluice::dataplane {

class Worker {
 public:
  Worker(Context context, std::vector<fabric::QueueRef> queues, fabric::IdleMode idle);

  // One round. Returns how many packets it took from queues and rings.
  unsigned poll_once() noexcept;

  // Polls until `stop`; then drains its rings once more and goes offline.
  void run(const std::atomic<bool>& stop) noexcept;

  Context& context() { return context_; }

 private:
  unsigned poll_queue(fabric::QueueRef q) noexcept;
  unsigned fill_shares(fabric::QueueRef q) noexcept;
  unsigned take_shares() noexcept;
  void note_load() noexcept;
  void from_commit_on() noexcept;
  void back_off() noexcept;

  Context context_;
  std::vector<fabric::QueueRef> queues_;
  fabric::IdleMode idle_;
  bool full_ = false;         // a queue brought a full burst in this round
  unsigned full_rounds_ = 0;  // on end
  Burst burst_;
  Burst challenges_;
};

}  // namespace sluice::dataplane
