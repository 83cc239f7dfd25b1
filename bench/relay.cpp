// scripts/bench relay: what the whole pipeline costs per packet, against two floors of the same
// run.
#include <atomic>
#include <cstdio>
#include <fstream>

#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/command_line.h"
#include "bench/feeder.h"
#include "bench/floors.h"
#include "bench/loop.h"
#include "bench/measure.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

// A thirtieth of the others' time: its packets cost more to seal than to forward.
constexpr double kForwardSlice = 0.01;

struct Options {
  std::vector<size_t> payloads = {64, 256, 512, 1024, 1400};
  std::vector<uint32_t> sessions = {64, 10'000, 100'000, 500'000};
  std::vector<std::string> seals = {"full", "header"};
  std::vector<unsigned> workers = {1, 2};
  unsigned burst = 64;
  unsigned core = 1;
  std::vector<unsigned> cores;
  unsigned slices = kSlices;
  std::string json;
};

struct Result {
  double relay_ns = 0, gcm_ns = 0, forward_ns = 0;
  double mpps = 0;  // all workers together
  unsigned repeated = 0;
};

// One worker on the calling thread, slices of relay and floors in turn.
Result measure_one(InMemoryRelay& relay, Feeder& feeder, const Traffic& traffic, const Options& o) {
  const Clock& clock = relay.clock();
  GcmFloor gcm(relay);
  const uint16_t port = relay.plane().worker(0).context().ports[0].dpdk_id;
  std::vector<double> relay_ns, gcm_ns, forward_ns;
  Result out;
  feeder.set(traffic);
  using Stretch = std::pair<uint64_t, uint64_t>;
  for (unsigned i = 0; i < o.slices; ++i) {
    gcm_ns.push_back(measure_slice(clock, out.repeated, [&]() -> Stretch {
      feeder.prepare();
      const uint64_t ticks = gcm.run(feeder, traffic, o.burst);
      feeder.give_back();
      return {ticks, kBatch};
    }));
    relay_ns.push_back(measure_slice(clock, out.repeated, [&]() -> Stretch {
      const uint64_t ticks = relay_stretch(relay, feeder, 0);
      return {ticks, feeder.collect()};
    }));
    forward_ns.push_back(measure_slice(
        clock, out.repeated,
        [&]() -> Stretch {
          feeder.prepare();
          feeder.enqueue();
          const uint64_t ticks = forward_floor(port, 0, o.burst);
          return {ticks, feeder.collect()};
        },
        kForwardSlice));
  }
  out.relay_ns = median(relay_ns);
  out.gcm_ns = median(gcm_ns);
  out.forward_ns = median(forward_ns);
  out.mpps = 1000 / out.relay_ns;
  return out;
}

std::string problem_of(InMemoryRelay& relay) {
  std::string drops;
  if (relay.drops(&drops) != 0) return "packets died: " + drops;
  return {};
}

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o) {}

  int run() {
    const unsigned most = *std::max_element(o_.workers.begin(), o_.workers.end());
    House first{.workers = most, .first_core = most == 1 ? o_.core : 0, .sessions = 64};
    first.burst = static_cast<uint16_t>(o_.burst);
    if (!o_.cores.empty() && o_.cores.size() < most) {
      return report(fmt::format("--cores names {} for {} workers", o_.cores.size(), most));
    }
    first.cores = o_.cores;
    auto eal = InMemoryRelay::start_eal(first);
    if (!eal) return report(eal.error().message);
    print_head();
    for (const uint32_t n : o_.sessions) {
      for (const unsigned w : o_.workers) {
        House house = first;
        house.workers = w;
        house.sessions = n;
        if (!run_house(house)) return 1;
        // After each: half an hour's work is not lost with what comes last.
        if (!o_.json.empty()) std::ofstream(o_.json) << Json{{"cases", cases_}}.dump(1) << '\n';
      }
    }
    return 0;
  }

 private:
  static int report(const std::string& message) {
    fmt::print(stderr, "bench relay: {}\n", message);
    return 1;
  }

  void print_head() {
    fmt::print("{:>7} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9} {:>11} {:>8} {:>8}\n", "seal", "payload",
               "sessions", "workers", "relay", "gcm", "forward", "efficiency", "Mpps", "Gbit/s");
    fmt::print("{:>7} {:>8} {:>9} {:>8} {:>9} {:>9} {:>9}\n", "", "bytes", "", "", "ns", "ns",
               "ns");
    std::fflush(stdout);
  }

  bool run_house(const House& house) {
    const size_t need = InMemoryRelay::pages_needed(house);
    if (need > InMemoryRelay::pages_free()) {
      for (const auto& seal : o_.seals) {
        for (const size_t payload : o_.payloads) {
          Json c = {{"seal", seal},
                    {"payload", payload},
                    {"sessions", house.sessions},
                    {"workers", house.workers},
                    {"skipped", fmt::format("needs {} pages", need)}};
          cases_.push_back(c);
        }
      }
      fmt::print("{:>26} {:>8}   skipped: needs {} pages\n", house.sessions, house.workers, need);
      return true;
    }
    auto relay = InMemoryRelay::create(house);
    if (!relay) return report(relay.error().message) == 0;
    InMemoryRelay& r = **relay;
    r.set_seal(fabric::SealPolicy::kAny);
    for (unsigned w = 0; w < house.workers; ++w) r.plane().qsbr().online(w);
    std::vector<std::unique_ptr<Feeder>> feeders;
    for (unsigned w = 0; w < house.workers; ++w) feeders.push_back(std::make_unique<Feeder>(r, w));
    for (const auto& seal : o_.seals) {
      for (const size_t payload : o_.payloads) {
        const Traffic traffic{.payload = payload,
                              .seal = seal == "header" ? wire::Seal::kHeader : wire::Seal::kFull,
                              .sessions = house.sessions};
        if (!run_case(r, feeders, traffic, seal)) return false;
      }
    }
    for (unsigned w = 0; w < house.workers; ++w) r.plane().qsbr().offline(w);
    return true;
  }

  bool run_case(InMemoryRelay& r, std::vector<std::unique_ptr<Feeder>>& feeders,
                const Traffic& traffic, const std::string& seal) {
    Result out;
    const unsigned workers = r.house().workers;
    if (workers == 1) {
      struct Call {
        InMemoryRelay& r;
        Feeder& f;
        const Traffic& t;
        const Options& o;
        Result& out;
      } call{r, *feeders[0], traffic, o_, out};
      rte_eal_remote_launch(
          [](void* arg) {
            auto& c = *static_cast<Call*>(arg);
            c.out = measure_one(c.r, c.f, c.t, c.o);
            return 0;
          },
          &call, rte_lcore_count() - 1);
      wait_for_lcores();
      single_[{seal, traffic.payload, traffic.sessions}] = out;
    } else {
      auto mpps = together_mpps(r, feeders, traffic);
      if (!mpps && mpps.error().code == ErrorCode::kResource) {
        // The machine took a core away; the other cases may still be measured.
        cases_.push_back({{"seal", seal},
                          {"payload", traffic.payload},
                          {"sessions", traffic.sessions},
                          {"workers", workers},
                          {"skipped", mpps.error().message}});
        fmt::print("{:>7} {:>8} {:>9} {:>8}   skipped: {}\n", seal, traffic.payload,
                   traffic.sessions, workers, mpps.error().message);
        return true;
      }
      if (!mpps) return report(mpps.error().message) == 0;
      out.mpps = *mpps;
      out.relay_ns = 1000 * workers / out.mpps;
      out.gcm_ns = 1000 * workers / together_floor_mpps(r, feeders, traffic);
      out.forward_ns = single_[{seal, traffic.payload, traffic.sessions}].forward_ns;
    }
    if (workers == 1) {
      if (const std::string wrong = problem_of(r); !wrong.empty()) return report(wrong) == 0;
    }
    const double efficiency = (out.gcm_ns + out.forward_ns) / out.relay_ns;
    const double bits = double(traffic.payload + 94) * 8;
    fmt::print("{:>7} {:>8} {:>9} {:>8} {:>9.1f} {:>9.1f} {:>9.1f} {:>11.3f} {:>8.2f} {:>8.2f}\n",
               seal, traffic.payload, traffic.sessions, workers, out.relay_ns, out.gcm_ns,
               out.forward_ns, efficiency, out.mpps, out.mpps * bits / 1000);
    std::fflush(stdout);
    cases_.push_back({{"seal", seal},
                      {"payload", traffic.payload},
                      {"sessions", traffic.sessions},
                      {"workers", workers},
                      {"relay_ns", out.relay_ns},
                      {"gcm_floor_ns", out.gcm_ns},
                      {"forward_floor_ns", out.forward_ns},
                      {"efficiency", efficiency},
                      {"mpps", out.mpps},
                      {"gbps", out.mpps * bits / 1000},
                      {"repeated_slices", out.repeated}});
    return true;
  }

  const Options o_;
  Json cases_ = Json::array();
  std::map<std::tuple<std::string, size_t, uint32_t>, Result> single_;
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{
      "What the relay's whole pipeline costs per packet, in memory, against the AEAD alone "
      "and against forwarding alone"};
  app.add_option("--payload", o.payloads, "end-to-end bytes after the frame header");
  app.add_option("--sessions", o.sessions, "sessions in random order; even numbers");
  app.add_option("--seal", o.seals, "full, header");
  app.add_option("--workers", o.workers, "1, 2");
  app.add_option("--burst", o.burst, "packets taken from a queue at once").range(1, 64);
  app.add_option("--core", o.core, "of the one worker");
  app.add_option("--cores", o.cores, "of each worker, instead");
  app.add_option("--slices", o.slices, "of 0.3 s each, whose median counts");
  app.add_option("--json", o.json, "write the cases there");
  if (const auto done = app.parse(argc, argv)) return *done;
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::Bench(o).run();
}
