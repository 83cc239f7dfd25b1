#include "bench/call_latency.h"

#include <algorithm>
#include <random>

#include <fmt/format.h>

#include "bench/measure.h"
#include "bench/percentiles.h"
#include "bench/progress.h"

namespace sluice::bench {
namespace {

constexpr uint8_t kData = 1;
// After its CALL_OPEN; so long that the call is open in any case.
constexpr double kAcceptAfter = 0.004;
constexpr double kCloseAfter = 0.008;

enum class What : uint8_t { kDatagram, kOpen, kAccept, kCloseBack, kClose };
struct Due {
  double at;
  What what;
  uint32_t index;  // agent, or call
};

Schedule make_schedule(InMemoryRelay& relay, Callers& callers, const LatencyOptions& o,
                       uint32_t first_caller, bool with_calls, unsigned turn, uint64_t& offered) {
  Schedule out;  // from here on its time runs
  std::mt19937 random(turn);
  std::vector<Due> due;
  // As many arrive at random as agents do who know nothing of each other.
  std::exponential_distribution<double> gap(o.data_per_s);
  for (double at = gap(random); at < o.seconds; at += gap(random)) {
    due.push_back({at, What::kDatagram, static_cast<uint32_t>(random() % first_caller)});
  }
  std::vector<SignedCall> calls;
  std::exponential_distribution<double> call_gap(o.calls_per_s);
  const uint32_t agents = relay.house().sessions - first_caller;
  for (double at = call_gap(random); with_calls && at < o.seconds; at += call_gap(random)) {
    const auto i = static_cast<uint32_t>(calls.size());
    calls.push_back(callers.sign(first_caller + (i * 7919) % agents));
    due.push_back({at, What::kOpen, i});
    due.push_back({at + kAcceptAfter, What::kAccept, i});
    due.push_back({at + kCloseAfter, What::kCloseBack, i});
    due.push_back({at + kCloseAfter, What::kClose, i});
  }
  std::stable_sort(due.begin(), due.end(), [](const Due& a, const Due& b) { return a.at < b.at; });
  offered = calls.size();
  for (const Due& d : due) {
    SealedFrame& f = out.add(d.at, d.what == What::kDatagram ? kData : 0);
    switch (d.what) {
      case What::kDatagram:
        callers.datagram(d.index, o.payload, f);
        break;
      case What::kOpen:
        callers.open(calls[d.index], f);
        break;
      case What::kAccept:
        callers.accept(calls[d.index], f);
        break;
      case What::kCloseBack:
      case What::kClose:
        callers.close(calls[d.index], d.what == What::kCloseBack, f);
        break;
    }
  }
  return out;
}

}  // namespace

LatencyFigures measure_call_latency(InMemoryRelay& relay, Callers& callers, Player& player,
                                    const LatencyOptions& o, uint32_t first_caller) {
  LatencyFigures out;
  const fabric::WorkerCounters& c = relay.arena().counters(0);
  std::vector<double> p50[2], p99[2], busy[2], added, rate;
  for (unsigned turn = 0; turn < o.turns; ++turn) {
    for (const bool with_calls : {false, true}) {
      note(fmt::format("turn {} of {}: signing and sealing {}", turn + 1, o.turns,
                       with_calls ? "calls and data" : "data"));
      uint64_t offered = 0;
      const Schedule schedule = make_schedule(relay, callers, o, first_caller, with_calls,
                                              2 * turn + with_calls, offered);
      if (!schedule.is_fresh()) {
        out.problem = "signing took so long that the calls have expired: this machine is too busy";
        return out;
      }
      const uint64_t before = c.accepted.get();
      const Played p = player.play(schedule);
      const uint64_t calls = c.accepted.get() - before;
      if (with_calls) rate.push_back(double(calls) / o.seconds);
      out.lost += offered - calls + schedule.count(kData) - p.us[kData].size();
      if (p.us[kData].empty()) out.problem = "no data frame left";
      const Percentiles q(p.us[kData]);
      p50[with_calls].push_back(q.p50);
      p99[with_calls].push_back(q.p99);
      busy[with_calls].push_back(p.busy);
      out.hiccups += p.hiccups;
      out.longest_us = std::max(out.longest_us, p.longest_us);
    }
    added.push_back(p99[1].back() - p99[0].back());
  }
  std::string drops;
  (void)relay.drops(&drops);
  out.reasons = relay.denials() + drops;
  out.p50_alone = median(p50[0]);
  out.p99_alone = median(p99[0]);
  out.p50_beside = median(p50[1]);
  out.p99_beside = median(p99[1]);
  out.added_p99 = median(added);
  out.busy_alone = median(busy[0]);
  out.busy_beside = median(busy[1]);
  out.calls_per_s = median(rate);
  return out;
}

}  // namespace sluice::bench
