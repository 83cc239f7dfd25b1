// scripts/bench stages: where a packet's time goes. The worker's own stages over the relay bench's
// traffic, with a time stamp between them; the stamps themselves cost about a nanosecond a packet.
#include <cstdio>
#include <fstream>

#include <rte_launch.h>
#include <rte_ring.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/command_line.h"
#include "bench/feeder.h"
#include "bench/measure.h"
#include "dataplane/stages.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr const char* kNames[] = {"rx",     "parse",     "lookup", "open",
                                  "commit", "authorize", "seal",   "deliver"};
constexpr size_t kStages = std::size(kNames);

struct Options {
  std::vector<size_t> payloads = {64, 1400};
  std::vector<uint32_t> sessions = {64, 100'000};
  std::vector<std::string> seals = {"full", "header"};
  unsigned burst = 64;
  unsigned core = 1;
  unsigned batches = 4000;
  bool no_huge = false;
  std::string json;
};

struct Stamps {
  uint64_t ticks[kStages] = {};
};

void one_burst(dataplane::Context& c, dataplane::Burst& b, Stamps& out) {
  uint64_t t[kStages + 1];
  t[0] = __builtin_ia32_rdtsc();
  c.now = c.clock.ticks();
  receive(c, b, {0, static_cast<uint16_t>(c.worker)});
  t[1] = __builtin_ia32_rdtsc();
  parse(c, b, 0);
  t[2] = __builtin_ia32_rdtsc();
  lookup(c, b);
  t[3] = __builtin_ia32_rdtsc();
  open(c, b);
  t[4] = __builtin_ia32_rdtsc();
  commit(c, b);
  t[5] = __builtin_ia32_rdtsc();
  authorize(c, b);
  t[6] = __builtin_ia32_rdtsc();
  seal(c, b);
  t[7] = __builtin_ia32_rdtsc();
  deliver(c, b);
  t[8] = __builtin_ia32_rdtsc();
  for (size_t i = 0; i < kStages; ++i) out.ticks[i] += t[i + 1] - t[i];
}

// Median over the batches, so that a stretch the core lost does not count.
std::vector<double> measure(InMemoryRelay& relay, const Traffic& traffic, const Options& o) {
  Feeder feeder(relay, 0);
  feeder.set(traffic);
  dataplane::Context& c = relay.plane().worker(0).context();
  auto burst = std::make_unique<dataplane::Burst>();
  std::vector<std::vector<double>> samples(kStages);
  for (unsigned i = 0; i < o.batches; ++i) {
    feeder.prepare();
    feeder.enqueue();
    Stamps s;
    while (rte_ring_count(relay.rx(0)) != 0) one_burst(c, *burst, s);
    feeder.collect();
    for (size_t k = 0; k < kStages; ++k) {
      samples[k].push_back(1000 * relay.clock().us_from_ticks(s.ticks[k]) / kBatch);
    }
  }
  std::vector<double> out;
  for (auto& v : samples) out.push_back(median(std::move(v)));
  return out;
}

int run(const Options& o) {
  House house{.workers = 1, .first_core = o.core};
  if (o.no_huge) house.mode = fabric::EalMode::kNoHuge;
  house.burst = static_cast<uint16_t>(o.burst);
  auto eal = InMemoryRelay::start_eal(house);
  if (!eal) {
    fmt::print(stderr, "bench stages: {}\n", eal.error().message);
    return 1;
  }
  fmt::print("{:>7} {:>8} {:>9}", "seal", "payload", "sessions");
  for (const char* name : kNames) fmt::print(" {:>9}", name);
  fmt::print(" {:>9}   ns per packet\n", "sum");
  Json cases = Json::array();
  for (const uint32_t n : o.sessions) {
    house.sessions = n;
    if (const size_t need = InMemoryRelay::pages_needed(house);
        need > InMemoryRelay::pages_free()) {
      fmt::print("{:>26}   skipped: needs {} pages\n", n, need);
      cases.push_back({{"sessions", n}, {"skipped", fmt::format("needs {} pages", need)}});
      continue;
    }
    auto relay = InMemoryRelay::create(house);
    if (!relay) {
      fmt::print(stderr, "bench stages: {}\n", relay.error().message);
      return 1;
    }
    (*relay)->set_seal(fabric::SealPolicy::kAny);
    for (const auto& seal : o.seals) {
      for (const size_t payload : o.payloads) {
        const Traffic traffic{.payload = payload,
                              .seal = seal == "header" ? wire::Seal::kHeader : wire::Seal::kFull,
                              .sessions = n};
        struct Call {
          InMemoryRelay& r;
          const Traffic& t;
          const Options& o;
          std::vector<double> out;
        } call{**relay, traffic, o, {}};
        rte_eal_remote_launch(
            [](void* arg) {
              auto& k = *static_cast<Call*>(arg);
              k.out = measure(k.r, k.t, k.o);
              return 0;
            },
            &call, 1);
        rte_eal_mp_wait_lcore();
        fmt::print("{:>7} {:>8} {:>9}", seal, payload, n);
        Json j = {{"seal", seal}, {"payload", payload}, {"sessions", n}};
        double sum = 0;
        for (size_t k = 0; k < kStages; ++k) {
          fmt::print(" {:>9.1f}", call.out[k]);
          j["ns"][kNames[k]] = call.out[k];
          sum += call.out[k];
        }
        fmt::print(" {:>9.1f}\n", sum);
        std::fflush(stdout);
        cases.push_back(std::move(j));
      }
    }
  }
  if (!o.json.empty()) std::ofstream(o.json) << Json{{"cases", cases}}.dump(1) << '\n';
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{
      "Nanoseconds per packet of every stage of the pipeline, in memory"};
  app.add_option("--payload", o.payloads, "end-to-end bytes after the frame header");
  app.add_option("--sessions", o.sessions, "sessions in random order; even numbers");
  app.add_option("--seal", o.seals, "full, header");
  app.add_option("--burst", o.burst, "packets taken from a queue at once").range(1, 64);
  app.add_option("--core", o.core, "of the worker");
  app.add_option("--batches", o.batches, "of 256 packets, whose median counts");
  app.add_flag("--no-huge", o.no_huge, "ordinary pages, as under callgrind");
  app.add_option("--json", o.json, "write the cases there");
  if (const auto done = app.parse(argc, argv)) return *done;
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::run(o);
}
