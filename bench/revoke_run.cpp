#include "bench/revoke_run.h"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_launch.h>
#include <rte_ring.h>

#include <fmt/format.h>

#include "bench/progress.h"

namespace sluice::bench {
namespace {

constexpr uint64_t kPatienceMs = 5000;
constexpr uint64_t kPatienceWithDiskMs = 60'000;
constexpr uint64_t kProgressMs = 2000;
constexpr unsigned kBetween = 32;        // packets given between two looks at control
constexpr long kPauseNs = 20'000;        // as the relay's event loop while something is under way
constexpr unsigned kBurstsUnderWay = 4;  // that a worker has taken when the revocation begins

bool shares_core(const House& house) {
  const auto cores = static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN));
  return house.workers >= cores;
}

// As the relay's event loop while something is under way: the store's thread, and a worker on this
// core, get it meanwhile.
void rest() {
  const timespec pause{0, kPauseNs};
  nanosleep(&pause, nullptr);
}

struct Launch {
  InMemoryRelay* relay;
  unsigned worker;
  WorkerWatch* watch;
  const std::atomic<bool>* stop;
};

}  // namespace

RevokeRun::RevokeRun(InMemoryRelay& relay, const RevokeOptions& options,
                     const volatile sig_atomic_t& stop, Callers* callers)
    : relay_(relay),
      o_(options),
      stop_(stop),
      shared_core_(shares_core(relay.house())),
      load_(relay, options.payload, 2 * options.revocations, callers, options.calls),
      departures_(relay, load_, 2 * options.revocations),
      watches_(relay.house().workers) {
  relay.at_cut = [this] { see_cut(); };
}

bool RevokeRun::fail(std::string problem) {
  if (totals_.problem.empty()) totals_.problem = std::move(problem);
  return false;
}

bool RevokeRun::late(uint64_t since, uint64_t patience_ms) const {
  return relay_.clock().ticks() - since > relay_.clock().ticks_from_ms(patience_ms);
}

uint64_t RevokeRun::idle_rounds() const {
  uint64_t sum = 0;
  for (const auto& w : watches_) sum += w.idle.get();
  return sum;
}

// What waits still, once the agent's state is stored: all of it was taken from the NIC before, and
// would leave if it were not authorised again. What came in before is read first, so that a worker
// at work only makes these numbers smaller. Of packets in turns there are none: one tenant.
void RevokeRun::count_waiting() {
  uint64_t calls = 0;
  for (unsigned w = 0; w < watches_.size(); ++w) {
    const fabric::WorkerCounters& c = relay_.arena().counters(w);
    const uint64_t parked = c.parked.get(), resumed = c.resumed.get();
    calls += parked > resumed ? parked - resumed : 0;
  }
  const uint64_t out = relay_.counter(&fabric::WorkerCounters::handed_out);
  const uint64_t in = relay_.counter(&fabric::WorkerCounters::handed_in);
  totals_.calls_waiting += calls;
  totals_.with_calls += calls != 0 ? 1 : 0;
  totals_.in_handover += out > in ? out - in : 0;
  totals_.with_handover += out > in ? 1 : 0;
}

// Control has just seen the last quiescent point that it waited for, or believes so.
void RevokeRun::see_cut() {
  departures_.cut();
  cut_ = true;
  const uint64_t idle = idle_rounds() - idle_before_;
  totals_.idle_in_fence += idle;
  totals_.ran_empty += idle != 0;
  bool all = true;
  for (unsigned w = 0; w < watches_.size(); ++w) {
    all = all && relay_.plane().qsbr().reported(w) >= token_;
  }
  totals_.early += !all;
}

// Control alone runs until then.
bool RevokeRun::wait_for_cut() {
  while (!cut_ && !answer_) {
    relay_.poll_control();
    if (shared_core_) rest();
    if (late(began_, kPatienceMs))
      return fail("no cut within 5 s of a revocation: a worker stands still");
  }
  return true;
}

// The agent goes on sending, and so does its peer.
bool RevokeRun::wait_for_answer() {
  while (!answer_) {
    load_.feed(kBetween);
    departures_.collect();
    relay_.poll_control();
    rest();
    if (late(began_, kPatienceWithDiskMs)) {
      return fail("no answer within 60 s of a revocation: the store stands still; try --state");
    }
  }
  if (answer_->state == control::CutState::kCut) return true;
  return fail(fmt::format("the answer is not `cut`: {}", answer_->problem));
}

// Until all that was offered has been through the workers, and through the ring between them.
bool RevokeRun::settle() {
  load_.feed(kBetween);  // also after the answer
  const uint64_t since = relay_.clock().ticks();
  fabric::Qsbr& qsbr = relay_.plane().qsbr();
  const auto waiting = [this] {
    unsigned n = 0;
    for (unsigned w = 0; w < watches_.size(); ++w) n += rte_ring_count(relay_.rx(w));
    return n;
  };
  unsigned rounds = 0;
  uint64_t token = 0;
  while (rounds < 2 || !departures_.marked()) {
    departures_.collect();
    relay_.poll_control();
    rest();
    if (late(since, kPatienceMs))
      return fail("a worker's marker does not come: the proof has a gap");
    if (waiting() != 0 || (token != 0 && !qsbr.passed(token))) continue;
    if (token != 0) ++rounds;
    token = qsbr.start();
  }
  departures_.collect();
  return true;
}

bool RevokeRun::one(uint32_t agent) {
  control::Control& control = relay_.control();
  // The generator, which the relay does not have, must not starve a worker on its core.
  if (shared_core_) take_precedence(false);
  load_.aim(agent);
  departures_.begin(agent);
  load_.prepare(o_.ring);
  load_.release();
  const uint64_t since = relay_.clock().ticks();
  const unsigned left = o_.ring / 2;
  for (unsigned w = 0; w < watches_.size(); ++w) {
    const unsigned full = rte_ring_count(relay_.rx(w));
    while (full > left &&
           full - rte_ring_count(relay_.rx(w)) < kBurstsUnderWay * relay_.house().burst) {
      if (shared_core_) rest();
      if (late(since, kPatienceMs)) return fail("a worker takes no packets from its ring");
    }
  }

  if (shared_core_) take_precedence(true);
  cut_ = false;
  answer_.reset();
  token_ = 0;
  idle_before_ = idle_rounds();
  began_ = relay_.clock().ticks();
  control.revocations().revoke(control::cut_of(control.trust().agent(agent), "bench"),
                               [this](control::RevocationAnswer a) { answer_ = std::move(a); });
  token_ = relay_.plane().qsbr().latest();
  departures_.expect(token_);
  count_waiting();
  if (!wait_for_cut()) return false;
  if (shared_core_) take_precedence(false);
  if (!wait_for_answer() || !settle()) return false;

  const auto& a = *answer_;
  samples_.store.push_back(a.store_us);
  samples_.report.push_back(relay_.clock().us_from_ticks(departures_.reported_at() - began_));
  samples_.fence.push_back(a.cut_us);
  samples_.wipe.push_back(a.wipe_us);
  samples_.sync.push_back(a.sync_us);
  samples_.durable.push_back(a.durable_us);
  samples_.ack.push_back(a.ack_us);
  const uint64_t passed = departures_.passed();
  totals_.passed += passed;
  totals_.died += load_.aimed() - passed;
  if (passed == 0 || load_.aimed() == passed) {
    return fail("an agent had no packets on both sides of its cut: the count would show nothing");
  }
  return true;
}

bool RevokeRun::all_at_once(uint32_t first, unsigned count) {
  control::Control& control = relay_.control();
  control::Cut what;
  for (unsigned i = 0; i < count; ++i) what.agents.push_back(first + i);
  what.reason = what.actor = "bench";
  const auto let_through = [&] {
    uint64_t sum = 0;
    for (unsigned i = 0; i < count; ++i) sum += relay_.arena().agents()[first + i].packets.get();
    return sum;
  };
  answer_.reset();
  began_ = relay_.clock().ticks();
  const uint64_t commits = control.store().commits();
  control.revocations().revoke(std::move(what),
                               [this](control::RevocationAnswer a) { answer_ = std::move(a); });
  if (!wait_for_answer()) return false;
  totals_.bulk_cut_us = answer_->cut_us;
  totals_.bulk_sync_us = answer_->sync_us;
  totals_.bulk_ack_us = answer_->ack_us;
  totals_.bulk_commits = control.store().commits() - commits;
  const uint64_t at_answer = let_through();
  if (at_answer == 0) return fail("those revoked at once had sent nothing: it would show nothing");
  for (int i = 0; i < 64; ++i) {
    load_.feed(kBetween);
    departures_.collect();
    relay_.poll_control();
    rest();
  }
  if (!settle()) return false;
  totals_.bulk_after = let_through() - at_answer;
  return totals_.bulk_after == 0 || fail("packets of agents that were revoked at once got through");
}

void RevokeRun::take_precedence(bool first) {
  const sched_param wanted{.sched_priority = first ? 1 : 0};
  if (sched_setscheduler(0, first ? SCHED_FIFO : SCHED_OTHER, &wanted) != 0) {
    fail("no SCHED_FIFO for control: run as root");
  }
}

void RevokeRun::progress(unsigned done) {
  const uint64_t now = relay_.clock().ticks();
  if (now - last_progress_ < relay_.clock().ticks_from_ms(kProgressMs)) return;
  last_progress_ = now;
  note(fmt::format("{} of {} revoked", done, o_.revocations));
}

// The peers' last acknowledgements; without them the answer would have told too much.
void RevokeRun::collect_acknowledgements() {
  const uint64_t since = relay_.clock().ticks();
  const auto& counts = relay_.control().channel().counts();
  while (counts.acknowledged < counts.sent && !late(since, kPatienceMs)) {
    departures_.collect();
    relay_.poll_control();
    rest();
  }
  totals_.messages = counts.sent;
  totals_.acknowledged = counts.acknowledged;
  totals_.repeated = counts.repeated;
}

void RevokeRun::run() {
  std::atomic<bool> stop{false};
  std::vector<Launch> launches;
  for (unsigned w = 0; w < watches_.size(); ++w) {
    relay_.arena().counters(w).longest_poll_ticks.set(0);
    launches.push_back({&relay_, w, &watches_[w], &stop});
  }
  for (unsigned w = 0; w < watches_.size(); ++w) {
    rte_eal_remote_launch(
        [](void* arg) {
          const auto& l = *static_cast<Launch*>(arg);
          poll_and_mark(*l.relay, l.worker, *l.watch, *l.stop);
          return 0;
        },
        &launches[w], w + 1);
  }
  // As the relay does where control shares a core with somebody: here at least with the store's
  // thread, which a revocation wakes before its proof.
  take_precedence(true);
  prctl(PR_SET_TIMERSLACK, 1ul);  // the event loop's timer has none
  last_progress_ = relay_.clock().ticks();
  const uint64_t since = last_progress_;
  for (unsigned k = 0; k < o_.revocations && totals_.problem.empty(); ++k) {
    if (stop_) {
      fail("interrupted");
    } else if (one(2 * k)) {
      progress(++totals_.done);
    }
  }
  if (totals_.problem.empty() && o_.bulk != 0) {
    note(fmt::format("{} more at once", o_.bulk));
    (void)all_at_once(2 * o_.revocations, o_.bulk);
  }
  collect_acknowledgements();
  uint64_t busy = 0;
  for (unsigned w = 0; w < watches_.size(); ++w)
    busy += relay_.arena().counters(w).busy_ticks.get();
  totals_.busy_share =
      double(busy) / double(watches_.size()) / double(relay_.clock().ticks() - since);
  stop = true;
  take_precedence(false);
  rte_eal_mp_wait_lcore();
  departures_.collect();
  add_up();
}

void RevokeRun::add_up() {
  totals_.behind = departures_.behind();
  totals_.farewells = departures_.farewells();
  totals_.handed_over = relay_.counter(&fabric::WorkerCounters::handed_out);
  totals_.calls_denied = departures_.denied();
  if (watches_.size() > 1 && totals_.handed_over == 0) fail("nothing was handed over");
  if (o_.calls != 0 && totals_.with_calls <= totals_.done / 10) {
    fail("calls waited for signatures at few of the revocations: the count would show little");
  }
  uint64_t unmarked = 0, longest = 0;
  for (unsigned w = 0; w < watches_.size(); ++w) {
    unmarked += watches_[w].unmarked.get();
    longest = std::max(longest, relay_.arena().counters(w).longest_poll_ticks.get());
  }
  totals_.longest_poll_us = relay_.clock().us_from_ticks(longest);
  if (totals_.behind != 0) fail("packets of a revoked agent were handed over after its cut");
  if (totals_.early != 0) fail("control told a cut before every worker had reported");
  if (unmarked != 0) fail("a marker found no buffer or no room in its queue");
  if (departures_.not_authentic() != 0) fail("frames to a peer did not open");
  if (relay_.counter(&fabric::WorkerCounters::tx_packets) == 0) fail("nothing was forwarded");
}

}  // namespace sluice::bench
