#include "dataplane/worker.h"

#include <ctime>

#include "dataplane/calls.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

constexpr unsigned kEmptyRoundsBeforeSleep = 256;
constexpr long kSleepNs = 50'000;
constexpr unsigned kLastRounds = 64;

}  // namespace

Worker::Worker(Context context, std::vector<fabric::QueueRef> queues, fabric::IdleMode idle)
    : context_(std::move(context)), queues_(std::move(queues)), idle_(idle) {}

void Worker::from_commit_on() noexcept {
  Context& c = context_;
  if (commit(c, burst_)) challenge(c, burst_, challenges_);
  authorize(c, burst_);
  seal(c, burst_);
  deliver(c, burst_);
  if (challenges_.count == 0) return;
  seal(c, challenges_);
  deliver(c, challenges_);
}

unsigned Worker::poll_queue(fabric::QueueRef q) noexcept {
  Context& c = context_;
  const unsigned n = receive(c, burst_, q);
  if (n == 0) return 0;
  parse(c, burst_, static_cast<uint8_t>(q.port));
  lookup(c, burst_);
  open(c, burst_);
  from_commit_on();
  return n;
}

unsigned Worker::poll_once() noexcept {
  Context& c = context_;
  c.now = c.clock.ticks();
  take_moves(c);
  unsigned n = 0;
  for (const fabric::QueueRef q : queues_) n += poll_queue(q);
  if (const unsigned taken = take_handover(c, burst_); taken != 0) {
    from_commit_on();
    n += taken;
  }
  // After the packets that arrived, so that data waits behind one slice of signatures at most.
  if (const unsigned taken = take_verified(c, burst_, n == 0); taken != 0) {
    authorize(c, burst_);
    seal(c, burst_);
    deliver(c, burst_);
    n += taken;
  }
  sweep_calls(c);
  if (const unsigned taken = take_from_control(c, burst_); taken != 0) {
    authorize(c, burst_);  // what somebody approved
    seal(c, burst_);
    deliver(c, burst_);
    n += taken;
  }
  c.qsbr.quiesce(c.worker);
  const uint64_t spent = c.clock.ticks() - c.now;
  c.counters.polls.add(1);
  if (n != 0) {
    c.counters.busy_polls.add(1);
    c.counters.busy_ticks.add(spent);
  }
  c.counters.longest_poll_ticks.raise(spent);
  return n;
}

void Worker::back_off() noexcept {
  context_.qsbr.offline(context_.worker);
  const timespec pause{0, kSleepNs};
  nanosleep(&pause, nullptr);
  context_.qsbr.online(context_.worker);
}

void Worker::run(const std::atomic<bool>& stop) noexcept {
  context_.qsbr.online(context_.worker);
  unsigned empty = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    empty = poll_once() == 0 ? empty + 1 : 0;
    if (idle_ == fabric::IdleMode::kBackoff && empty >= kEmptyRoundsBeforeSleep) back_off();
  }
  // What control sent last (a notice, an answer) still leaves; bounded, since agents go on sending.
  for (unsigned i = 0; i < kLastRounds && poll_once() != 0; ++i) {
  }
  context_.qsbr.offline(context_.worker);
}

}  // namespace sluice::dataplane
