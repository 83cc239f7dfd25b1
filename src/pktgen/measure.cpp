#include "pktgen/measure.h"

#include <algorithm>

namespace sluice::pktgen {
namespace {

constexpr double kStep = 0.1;
constexpr double kQuiet = 0.1;
// While packets are missing: a relay that shares its core may pause for longer.
constexpr double kQuietMissing = 0.4;
constexpr double kLongestDrain = 3;

void add_counters(const Fleet& fleet, Outcome& out) {
#define X(name, text) out.name = 0;
  SLUICE_PKTGEN_COUNTERS(X)
#undef X
  for (size_t d = 0; d < fleet.devices(); ++d) {
    const Stats& s = fleet.stats(d);
#define X(name, text) out.name += s.name.get();
    SLUICE_PKTGEN_COUNTERS(X)
#undef X
    out.hiccup_max_us =
        std::max(out.hiccup_max_us, fleet.clock().us_from_ticks(s.hiccup_max.get()));
  }
  out.hiccup_us = fleet.clock().us_from_ticks(out.hiccup_ticks);
}

class Stopwatch {
 public:
  explicit Stopwatch(const Clock& clock) : clock_(clock), begin_(clock.ticks()) {}
  double seconds() const { return clock_.us_from_ticks(clock_.ticks() - begin_) / 1e6; }

 private:
  const Clock& clock_;
  uint64_t begin_;
};

void wait_for(Fleet& fleet, Phase phase) {
  for (size_t d = 0; d < fleet.devices(); ++d) {
    while (!fleet.worker(d).reached(phase)) fleet.serve();
  }
}

bool all_exhausted(Fleet& fleet) {
  for (size_t d = 0; d < fleet.devices(); ++d) {
    if (!fleet.worker(d).exhausted()) return false;
  }
  return true;
}

void mark(const Fleet& fleet, double t, Outcome& out, TimelinePoint& last) {
  add_counters(fleet, out);
  out.timeline.push_back(
      {t, out.sent - last.sent, out.received - last.received, out.blocked - last.blocked});
  last = {t, out.sent, out.received, out.blocked};
}

void drain(Fleet& fleet, Outcome& out) {
  for (size_t d = 0; d < fleet.devices(); ++d) fleet.worker(d).drain();
  wait_for(fleet, Phase::kDrain);
  const Stopwatch watch(fleet.clock());
  uint64_t last = 0;
  double changed = 0;
  while (watch.seconds() < kLongestDrain &&
         watch.seconds() - changed < (out.received < out.sent ? kQuietMissing : kQuiet)) {
    fleet.serve();
    add_counters(fleet, out);
    if (out.received != last) changed = watch.seconds();
    last = out.received;
  }
}

}  // namespace

Outcome measure(Fleet& fleet, const Traffic& traffic, double seconds,
                const std::function<void(const Outcome&)>& progress) {
  Outcome out;
  out.offered_pps = traffic.pps;
  for (size_t d = 0; d < fleet.devices(); ++d) {
    const double share = fleet.share(d);
    fleet.worker(d).begin(traffic, traffic.pps * share, share);
  }
  wait_for(fleet, Phase::kTraffic);
  const Stopwatch watch(fleet.clock());
  TimelinePoint last;
  for (double next = kStep; !interrupted() && watch.seconds() < seconds;) {
    fleet.serve();
    if (traffic.presealed != 0 && all_exhausted(fleet)) break;
    if (watch.seconds() < next) continue;
    mark(fleet, watch.seconds(), out, last);
    out.seconds = watch.seconds();
    progress(out);
    next = std::max(next + kStep, watch.seconds());
  }
  out.interrupted = interrupted();
  for (size_t d = 0; d < fleet.devices(); ++d) fleet.worker(d).drain();
  out.seconds = watch.seconds();
  drain(fleet, out);
  mark(fleet, watch.seconds(), out, last);
  for (size_t d = 0; d < fleet.devices(); ++d) fleet.worker(d).rest();
  wait_for(fleet, Phase::kRest);
  add_counters(fleet, out);
  for (size_t d = 0; d < fleet.devices(); ++d) {
    out.latency.merge(fleet.stats(d).latency);
    out.late.merge(fleet.stats(d).late);
  }
  const double until =
      traffic.flood_until > 0 ? std::min(traffic.flood_until, out.seconds) : out.seconds;
  for (const Flood& f : traffic.floods) {
    FloodOutcome flood{f.kind, 0, std::max(0.0, until - traffic.flood_from)};
    for (size_t d = 0; d < fleet.devices(); ++d) {
      flood.sent += fleet.stats(d).floods[size_t(f.kind)].get();
    }
    out.floods.push_back(flood);
  }
  return out;
}

}  // namespace sluice::pktgen
