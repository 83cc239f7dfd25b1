#include "dataplane/latency.h"

namespace sluice::dataplane {
namespace {

using fabric::LatencyHistogram;

// Packets of one tenant in a row that were there as long: most of a burst, as a rule.
struct Run {
  LatencyHistogram* of;  // a worker's first
  uint32_t place = 0;    // 0: of no tenant's
  uint64_t ns = 0;
  size_t bucket = 0;
  uint64_t packets = 0;

  void end() noexcept {
    if (place != 0 && packets != 0) of[place].add(ns, bucket, packets);
    packets = 0;
  }
};

}  // namespace

void count_latency(const Context& c, const Burst& b, std::span<Slot* const> sent,
                   const uint64_t* received, uint64_t forwarded) noexcept {
  const Tables& t = c.tables;
  const uint64_t now = c.clock.ticks();
  // Cores' counters may differ by some ticks.
  const auto ns_since = [&](uint64_t then) { return now > then ? c.ns_from_ticks(now - then) : 0; };
  Run run{.of = t.latencies};
  if (b.received != 0) {
    run.ns = ns_since(b.received);
    run.bucket = LatencyHistogram::bucket_of(run.ns);
    t.latencies[0].add(run.ns, run.bucket, forwarded);
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    const Slot* s = sent[i];
    if (s->edge == 0) continue;
    const uint32_t place =
        t.agents[s->session->agent].latency_place.load(std::memory_order_relaxed);
    if (b.received == 0) {
      run.end();
      run.ns = ns_since(received[i]);
      run.bucket = LatencyHistogram::bucket_of(run.ns);
      t.latencies[0].add(run.ns, run.bucket, 1);
    }
    if (place != run.place) run.end();
    run.place = place;
    ++run.packets;
  }
  run.end();
}

}  // namespace sluice::dataplane
