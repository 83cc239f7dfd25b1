// scripts/bench observability: what measuring costs a packet. Slices with and without it in turn,
// in one process, on one worker; each pair of neighbours is one observation.
#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <thread>

#include <rte_launch.h>
#include <rte_lcore.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/command_line.h"
#include "bench/loop.h"
#include "bench/measure.h"
#include "control/metrics.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr double kStudent = 2.05;  // 95 %, two-sided, from 29 degrees of freedom on

struct Options {
  std::vector<size_t> payloads = {64, 1400};
  std::vector<std::string> seals = {"full", "header"};
  std::vector<unsigned> tenants = {1, 64};
  uint32_t sessions = 1024;
  unsigned burst = 64;
  unsigned core = 1;
  unsigned pairs = 60;
  unsigned batches = 400;
  unsigned scrape_ms = 10;
  std::string json;
};

struct Paired {
  std::vector<double> off, on;  // nanoseconds per packet; on[i] is off[i]'s neighbour
};

struct Interval {
  double mean = 0, low = 0, high = 0;
};

Interval interval_of(const std::vector<double>& v) {
  double sum = 0, squares = 0;
  for (const double x : v) sum += x;
  const double n = double(v.size()), mean = sum / n;
  for (const double x : v) squares += (x - mean) * (x - mean);
  const double half = kStudent * std::sqrt(squares / (n - 1) / n);
  return {mean, mean - half, mean + half};
}

struct Measurement {
  InMemoryRelay& relay;
  Feeder& feeder;
  const Traffic& traffic;
  const Options& o;
  std::atomic<bool>& measured;  // for who scrapes meanwhile
  Paired out = {};
};

// The median batch: what the core lost to somebody else falls on few of them.
double slice(Measurement& m, bool on) {
  m.relay.plane().worker(0).context().options.latency = on;
  m.measured.store(on, std::memory_order_relaxed);
  std::vector<uint64_t> ticks;
  for (unsigned i = 0; i < m.o.batches; ++i) {
    ticks.push_back(relay_stretch(m.relay, m.feeder, 0));
    (void)m.feeder.collect();
  }
  return 1000 * m.relay.clock().us_from_ticks(median(std::move(ticks))) / kBatch;
}

int run_paired(void* arg) {
  auto& m = *static_cast<Measurement*>(arg);
  m.feeder.set(m.traffic);
  (void)slice(m, true);  // warm
  // Who comes first changes, so that a drift of the machine falls on both.
  for (unsigned i = 0; i < m.o.pairs; ++i) {
    const bool on_first = i % 2 != 0;
    const double first = slice(m, on_first);
    const double second = slice(m, !on_first);
    m.out.on.push_back(on_first ? first : second);
    m.out.off.push_back(on_first ? second : first);
  }
  return 0;
}

// As a Prometheus would that asks a hundred times too often, while measuring is on.
class Scraper {
 public:
  Scraper(const InMemoryRelay& relay, unsigned every_ms, const std::atomic<bool>& measured)
      : thread_([this, &relay, every_ms, &measured] {
          while (!stop_.load(std::memory_order_relaxed)) {
            if (measured.load(std::memory_order_relaxed)) {
              bytes_ += control::serialize(control::dataplane_metrics(relay.arena(), relay.clock(),
                                                                      relay.latency_places()))
                            .size();
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(every_ms));
          }
        }) {}
  ~Scraper() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  size_t bytes_ = 0;
  std::thread thread_;
};

// Of a relay with 64 workers and 64 tenants: all but control's own figures, and the text.
Json scrape_cost(const Clock& clock) {
  constexpr uint32_t kWorkers = 64, kTenants = 64;
  const auto arena = fabric::Arena::create({.agents = 4096,
                                            .edges = 2,
                                            .sessions = 16'384,
                                            .workers = kWorkers,
                                            .latencies = 1 + kTenants},
                                           fabric::PageKind::kSmall);
  if (!arena) return nullptr;
  control::LatencyPlaces places(**arena);
  for (uint16_t t = 1; t <= kTenants; ++t) (void)places.of(t);
  uint64_t n = 0;
  for (uint32_t w = 0; w < kWorkers; ++w) {
    (*arena)->counters(w).rx_packets.set(1'000'000'000'000 + w);
    for (auto& h : (*arena)->latencies(w)) {
      for (uint64_t ns = 300; ns < 100'000'000; ns *= 2) {
        h.add(ns, fabric::LatencyHistogram::bucket_of(ns), ++n);
      }
    }
  }
  std::vector<double> ms;
  size_t bytes = 0;
  for (int i = 0; i < 20; ++i) {
    const uint64_t began = clock.ticks();
    bytes = control::serialize(control::dataplane_metrics(**arena, clock, places)).size();
    ms.push_back(clock.us_from_ticks(clock.ticks() - began) / 1000);
  }
  const double each = median(std::move(ms));
  fmt::print("\na scrape of {} workers and {} tenants: {:.1f} ms, {} KiB\n", kWorkers, kTenants,
             each, bytes >> 10);
  return {{"workers", kWorkers}, {"tenants", kTenants}, {"bytes", bytes}, {"ms", each}};
}

int report(const std::string& message) {
  fmt::print(stderr, "bench observability: {}\n", message);
  return 1;
}

int run(const Options& o) {
  House house{.workers = 1, .first_core = o.core, .sessions = o.sessions};
  house.burst = static_cast<uint16_t>(o.burst);
  house.latency = true;
  if (InMemoryRelay::pages_needed(house) > InMemoryRelay::pages_free()) {
    house.mode = fabric::EalMode::kNoHuge;
    fmt::print("   not enough free hugepages: ordinary pages\n");
  }
  auto eal = InMemoryRelay::start_eal(house);
  if (!eal) return report(eal.error().message);
  fmt::print("{:>7} {:>8} {:>8} {:>9} {:>9} {:>24} {:>24}\n", "seal", "payload", "tenants", "off",
             "on", "cost ns (95 %)", "cost % (95 %)");
  Json cases = Json::array();
  for (const unsigned tenants : o.tenants) {
    house.tenants.assign(tenants, {.packets_per_s = 1'000'000'000});
    auto relay = InMemoryRelay::create(house);
    if (!relay) return report(relay.error().message);
    (*relay)->set_seal(fabric::SealPolicy::kAny);
    // A source that never pauses is a saturated worker: its tenants would take turns.
    (*relay)->arena().relay().tenants.store(1);
    (*relay)->plane().qsbr().online(0);
    Feeder feeder(**relay, 0);
    std::atomic<bool> measured{false};
    const Scraper scraper(**relay, o.scrape_ms, measured);
    for (const auto& seal : o.seals) {
      for (const size_t payload : o.payloads) {
        const Traffic traffic{.payload = payload,
                              .seal = seal == "header" ? wire::Seal::kHeader : wire::Seal::kFull,
                              .sessions = o.sessions};
        Measurement m{**relay, feeder, traffic, o, measured};
        rte_eal_remote_launch(run_paired, &m, rte_lcore_count() - 1);
        wait_for_lcores();
        std::string dead;
        if ((*relay)->drops(&dead) != 0) return report("packets died: " + dead);
        std::vector<double> ns, percent;
        for (size_t i = 0; i < m.out.on.size(); ++i) {
          ns.push_back(m.out.on[i] - m.out.off[i]);
          percent.push_back(100 * ns.back() / m.out.off[i]);
        }
        const Interval by_ns = interval_of(ns), by_percent = interval_of(percent);
        const double off = median(m.out.off), on = median(m.out.on);
        fmt::print("{:>7} {:>8} {:>8} {:>9.1f} {:>9.1f} {:>24} {:>24}\n", seal, payload, tenants,
                   off, on,
                   fmt::format("{:.2f} ({:.2f} to {:.2f})", by_ns.mean, by_ns.low, by_ns.high),
                   fmt::format("{:.2f} ({:.2f} to {:.2f})", by_percent.mean, by_percent.low,
                               by_percent.high));
        std::fflush(stdout);
        cases.push_back(
            {{"seal", seal},
             {"payload", payload},
             {"tenants", tenants},
             {"pairs", o.pairs},
             {"off_ns", off},
             {"on_ns", on},
             {"cost_ns", {{"mean", by_ns.mean}, {"low", by_ns.low}, {"high", by_ns.high}}},
             {"cost_percent",
              {{"mean", by_percent.mean}, {"low", by_percent.low}, {"high", by_percent.high}}}});
        if (!o.json.empty()) std::ofstream(o.json) << Json{{"cases", cases}}.dump(1) << '\n';
      }
    }
    (*relay)->plane().qsbr().offline(0);
  }
  const Clock clock;
  const Json scrape = scrape_cost(clock);
  if (!o.json.empty()) {
    std::ofstream(o.json) << Json{{"cases", cases}, {"scrape", scrape}}.dump(1) << '\n';
  }
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{
      "What latency histograms and a scraper cost a packet: slices with and without in turn"};
  app.add_option("--payload", o.payloads, "end-to-end bytes after the frame header");
  app.add_option("--seal", o.seals, "full, header");
  app.add_option("--tenants", o.tenants, "among whom the senders are").range(1, 4096);
  app.add_option("--sessions", o.sessions, "in random order; an even number");
  app.add_option("--burst", o.burst, "packets taken from a queue at once").range(1, 64);
  app.add_option("--core", o.core, "of the worker");
  app.add_option("--pairs", o.pairs, "of slices").range(30, 10'000);
  app.add_option("--batches", o.batches, "of 256 packets in each slice, whose median counts")
      .range(10, 100'000);
  app.add_option("--scrape", o.scrape_ms, "milliseconds between two scrapes").range(1, 10'000);
  app.add_option("--json", o.json, "write the cases there");
  if (const auto done = app.parse(argc, argv)) return *done;
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::run(o);
}
