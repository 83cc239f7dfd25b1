#include "control/metrics.h"

#include <limits>

#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include "control/control.h"
#include "control/metric_family.h"
#include "crypto/ed25519_batch.h"
#include "crypto/x25519.h"

namespace sluice::control {
namespace {

using fabric::LatencyHistogram;

// Bounds of what is served: powers of two of nanoseconds, which are ends of buckets.
constexpr unsigned kFirstBound = 8;  // 256 ns
constexpr unsigned kLastBound = 30;  // 1.07 s, the histogram's limit

// A worker's counter as Prometheus has it: seconds for ticks, _total where it only grows.
struct WorkerMetric {
  std::string name;
  std::string text;
  MetricKind kind = MetricKind::kCounter;
  bool ticks = false;
};

WorkerMetric metric_of(const fabric::CounterInfo& c) {
  constexpr std::string_view kTicks = "_ticks", kInTicks = ", in TSC ticks";
  WorkerMetric out{std::string("sluice_worker_") + c.name, c.text};
  if (out.name.ends_with(kTicks)) {
    out.ticks = true;
    out.name.replace(out.name.size() - kTicks.size(), kTicks.size(), "_seconds");
    if (out.text.ends_with(kInTicks)) out.text.resize(out.text.size() - kInTicks.size());
  }
  if (std::string_view(c.name).starts_with("longest_")) {
    out.kind = MetricKind::kGauge;
  } else {
    out.name += "_total";
  }
  return out;
}

void add_workers(MetricFamilies& out, const fabric::Arena& arena, const Clock& clock) {
  const uint32_t workers = arena.sizes().workers;
  for (const fabric::CounterInfo& c : fabric::kWorkerCounterTable) {
    const WorkerMetric m = metric_of(c);
    Family f(out, m.name, m.kind, m.text);
    f.reserve(workers);
    for (uint32_t w = 0; w < workers; ++w) {
      const uint64_t n = (arena.counters(w).*c.member).get();
      f.add(m.ticks ? clock.us_from_ticks(n) / 1e6 : double(n), {{"worker", std::to_string(w)}});
    }
  }
}

// Of all workers.
template <size_t N>
double sum_of(const fabric::Arena& arena, fabric::Counter (fabric::WorkerCounters::*which)[N],
              size_t at) {
  uint64_t n = 0;
  for (uint32_t w = 0; w < arena.sizes().workers; ++w) {
    n += (arena.counters(w).*which)[at].get();
  }
  return double(n);
}

void add_reasons(MetricFamilies& out, const fabric::Arena& arena) {
  {
    Family f(out, Metric::kDrops);
    for (size_t r = 1; r < fabric::kDropReasons; ++r) {
      const fabric::DropInfo& d = fabric::kDropTable[r];
      f.add(sum_of(arena, &fabric::WorkerCounters::drops, r),
            {{"reason", d.name}, {"severity", name(d.severity)}});
    }
  }
  {
    Family f(out, Metric::kCallDecisions);
    for (size_t r = 0; r < wire::kCallReasons; ++r) {
      f.add(sum_of(arena, &fabric::WorkerCounters::calls, r),
            {{"reason", wire::kCallReasonTable[r].name}});
    }
  }
  Family f(out, Metric::kReasonInfo);
  const auto explain = [&f](const char* of, const char* reason, const char* text) {
    f.add(1, {{"of", of}, {"reason", reason}, {"text", text}});
  };
  for (size_t r = 1; r < fabric::kDropReasons; ++r) {
    explain("drop", fabric::kDropTable[r].name, fabric::kDropTable[r].text);
  }
  for (const auto& r : wire::kCallReasonTable) explain("call", r.name, r.text);
  for (const auto& o : kOutcomeTable) explain("handshake", o.name, o.text);
}

double longest_s(std::span<const LatencyHistogram* const> of) {
  uint64_t ns = 0;
  for (const LatencyHistogram* h : of) ns = std::max(ns, h->longest_ns());
  return double(ns) / 1e9;
}

void add_latencies(MetricFamilies& out, const fabric::Arena& arena, const LatencyPlaces& places) {
  const auto& sizes = arena.sizes();
  if (sizes.latencies == 0) return;
  struct Of {
    std::string label;
    std::vector<const LatencyHistogram*> parts;
  };
  std::vector<Of> workers, tenants;
  for (uint32_t w = 0; w < sizes.workers; ++w) {
    workers.push_back({std::to_string(w), {&arena.latencies(w)[0]}});
  }
  for (const auto& [tenant, place] : places.all()) {
    Of& t = tenants.emplace_back(Of{std::to_string(tenant), {}});
    for (uint32_t w = 0; w < sizes.workers; ++w) t.parts.push_back(&arena.latencies(w)[place]);
  }
  const auto add = [&out](Metric histogram, Metric longest, const char* label,
                          const std::vector<Of>& all) {
    {
      Family f(out, histogram);
      f.reserve(all.size());
      for (const Of& o : all) f.add(o.parts, {{label, o.label}});
    }
    Family f(out, longest);
    for (const Of& o : all) f.add(longest_s(o.parts), {{label, o.label}});
  };
  add(Metric::kForwardLatency, Metric::kForwardLongest, "worker", workers);
  add(Metric::kTenantLatency, Metric::kTenantLongest, "tenant", tenants);
  Family(out, Metric::kTenantsWithout).add(double(places.without()));
}

// How many are in each of `states` states.
template <typename Record>
std::vector<uint64_t> by_state(std::span<const Record> records, size_t states) {
  std::vector<uint64_t> out(states);
  for (const Record& r : records) {
    if (const uint32_t s = r.state.load(std::memory_order_relaxed); s < states) ++out[s];
  }
  return out;
}

void add_tables(MetricFamilies& out, const fabric::Arena& arena) {
  {
    const std::span<const fabric::Session> all = arena.sessions();
    const auto n = by_state(all.subspan(std::min<size_t>(1, all.size())), 3);  // 0 is never used
    Family f(out, Metric::kSessions);
    f.add(double(n[size_t(fabric::SessionState::kConfirmed)]), {{"state", "confirmed"}});
    f.add(double(n[size_t(fabric::SessionState::kUnconfirmed)]), {{"state", "unconfirmed"}});
    f.add(double(n[size_t(fabric::SessionState::kFree)]), {{"state", "free"}});
  }
  const auto n = by_state(std::span<const fabric::Agent>(arena.agents()), 3);
  Family f(out, Metric::kAgents);
  f.add(double(n[size_t(fabric::AgentState::kActive)]), {{"state", "active"}});
  f.add(double(n[size_t(fabric::AgentState::kRevoked)]), {{"state", "revoked"}});
}

}  // namespace

void Family::add(std::span<const LatencyHistogram* const> of, Labels labels) {
  prometheus::ClientMetric::Histogram& h = labelled(labels).histogram;
  h.bucket.reserve(kLastBound - kFirstBound + 2);
  uint64_t sum_ns = 0;
  for (const LatencyHistogram* one : of) sum_ns += one->sum_ns();
  size_t bucket = 0;
  uint64_t count = 0;
  const auto count_to = [&](size_t end) {
    for (; bucket < end; ++bucket) {
      for (const LatencyHistogram* one : of) count += one->in_bucket(bucket);
    }
  };
  for (unsigned bits = kFirstBound; bits <= kLastBound; ++bits) {
    count_to(LatencyHistogram::Scale::of(uint64_t{1} << bits));
    h.bucket.push_back({count, double(uint64_t{1} << bits) / 1e9});
  }
  count_to(LatencyHistogram::kBuckets);
  h.bucket.push_back({count, std::numeric_limits<double>::infinity()});
  h.sample_count = count;
  h.sample_sum = double(sum_ns) / 1e9;
}

MetricFamilies dataplane_metrics(const fabric::Arena& arena, const Clock& clock,
                                 const LatencyPlaces& places) {
  MetricFamilies out;
  add_workers(out, arena, clock);
  add_reasons(out, arena);
  add_latencies(out, arena, places);
  add_tables(out, arena);
  return out;
}

std::string serialize(const MetricFamilies& families) {
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace sluice::control
