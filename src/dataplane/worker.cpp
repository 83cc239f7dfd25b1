#include "dataplane/worker.h"

#include <algorithm>
#include <ctime>

#include "dataplane/calls.h"
#include "dataplane/locate.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

constexpr unsigned kEmptyRoundsBeforeSleep = 256;
constexpr long kSleepNs = 50'000;
constexpr unsigned kLastRounds = 64;
// So many rounds with a full burst, one after the other, are more than a gust.
constexpr unsigned kFullRounds = 16;
// While tenants take turns, a queue is emptied faster than its packets are served, or the NIC would
// choose whose packets are lost.
constexpr unsigned kBurstsPerTurn = 4;

// One tenant alone would wait for nobody. Once begun, it goes on until nothing waits, so that
// packets stay in order.
bool takes_turns(const Context& c) noexcept {
  return !c.fair->empty() ||
         (c.saturated && c.arena.relay().tenants.load(std::memory_order_relaxed) > 1);
}

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
  full_ = full_ || n == c.options.burst;
  parse(c, burst_, static_cast<uint8_t>(q.port));
  lookup(c, burst_);
  open(c, burst_);
  from_commit_on();
  return n;
}

// Instead of poll_queue: what an agent sent waits for its tenant's turn, everything else goes on.
unsigned Worker::fill_shares(fabric::QueueRef q) noexcept {
  Context& c = context_;
  unsigned taken = 0;
  for (unsigned i = 0; i < kBurstsPerTurn; ++i) {
    const unsigned n = receive(c, burst_, q);
    if (n == 0) break;
    taken += n;
    parse(c, burst_, static_cast<uint8_t>(q.port));
    lookup(c, burst_);
    wait_for_turn(c, burst_);
    deliver(c, burst_);
    if (n < c.options.burst) break;
    full_ = true;
  }
  return taken;
}

unsigned Worker::take_shares() noexcept {
  Context& c = context_;
  const unsigned n = c.fair->take(burst_, c.options.burst);
  if (n == 0) return 0;
  c.counters.resumed.add(n);
  const Tables t = c.tables;
  for (Slot& s : burst_) {
    s.received_by = static_cast<uint8_t>(c.worker);
    locate(t, s);
  }
  lookup(c, burst_);
  open(c, burst_);
  from_commit_on();
  return n;
}

void Worker::note_load() noexcept {
  full_rounds_ = full_ ? std::min(full_rounds_ + 1, kFullRounds) : 0;
  context_.saturated = full_rounds_ == kFullRounds;
}

unsigned Worker::poll_once() noexcept {
  Context& c = context_;
  c.now = c.clock.ticks();
  take_moves(c);
  unsigned n = 0;
  full_ = false;
  if (takes_turns(c)) {
    c.counters.shared_polls.add(1);
    for (const fabric::QueueRef q : queues_) n += fill_shares(q);
    n += take_shares();
  } else {
    for (const fabric::QueueRef q : queues_) n += poll_queue(q);
  }
  note_load();
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
