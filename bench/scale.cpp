// scripts/bench scale: what a packet costs with many sessions, many edges and several workers, and
// what each of them takes of the arena's memory.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/command_line.h"
#include "bench/loop.h"
#include "bench/measure.h"
#include "bench/progress.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

struct Options {
  std::vector<uint32_t> sessions = {64, 1000, 10'000, 100'000, 500'000};
  std::vector<unsigned> edges = {1, 16, 256};
  std::vector<unsigned> workers = {1, 2};
  uint32_t agents = 4096;  // where edges or workers vary
  size_t payload = 64;
  unsigned burst = 64;
  unsigned core = 1;
  unsigned slices = kSlices;
  std::string json;
};

// Bytes that one more record takes: over so many that the rounding of the whole vanishes.
uint64_t bytes_of_one(uint32_t fabric::ArenaSizes::*member, unsigned workers) {
  constexpr uint32_t kMany = 1u << 22;
  fabric::ArenaSizes sizes{.agents = 64, .edges = 64, .sessions = 64, .workers = workers};
  const size_t before = fabric::Arena::needed(sizes);
  sizes.*member += kMany;
  return (fabric::Arena::needed(sizes) - before + kMany / 2) / kMany;
}

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o) {}

  int run() {
    const unsigned most = *std::max_element(o_.workers.begin(), o_.workers.end());
    base_ = {.workers = most, .first_core = o_.core + 1 < most ? 0 : o_.core + 1 - most};
    base_.burst = static_cast<uint16_t>(o_.burst);
    auto eal = InMemoryRelay::start_eal(base_);
    if (!eal) return report(eal.error().message);
    Json out;
    base_.workers = 1;
    for (const uint32_t n : o_.sessions) {
      House house = base_;
      house.sessions = n;
      if (!measure(house, "sessions", out["sessions"], {{"sessions", n}})) return 1;
    }
    for (const unsigned n : o_.edges) {
      House house = base_;
      house.sessions = o_.agents;
      house.edges = n;
      if (!measure(house, "edges", out["edges"], {{"edges", n}, {"agents", o_.agents}})) return 1;
    }
    for (const unsigned n : o_.workers) {
      House house = base_;
      house.sessions = o_.agents;
      house.workers = n;
      if (!measure(house, "workers", out["workers"], {{"workers", n}, {"sessions", o_.agents}})) {
        return 1;
      }
    }
    out["memory"] = print_memory();
    if (!o_.json.empty()) std::ofstream(o_.json) << out.dump(1) << '\n';
    return failed_ ? 1 : 0;
  }

 private:
  static int report(const std::string& message) {
    clear_note();
    fmt::print(stderr, "bench scale: {}\n", message);
    return 1;
  }

  void print_head(const char* section) {
    if (section == section_) return;
    section_ = section;
    fmt::print("\n{:>10} {:>10} {:>10} {:>10} {:>10}\n{:>10} {:>10} {:>10} {:>10} {:>10}\n",
               "sessions", "edges", "workers", "relay", "all", "", "an agent", "", "ns", "Mpps");
  }

  bool measure(const House& house, const char* section, Json& out, Json row) {
    print_head(section);
    const auto name =
        fmt::format("{:>10} {:>10} {:>10} ", house.sessions, house.edges, house.workers);
    const size_t need = InMemoryRelay::pages_needed(house);
    if (need > InMemoryRelay::pages_free()) {
      row["skipped"] = fmt::format("needs {} pages", need);
      fmt::print("{}skipped: needs {} pages\n", name, need);
      out.push_back(std::move(row));
      return true;
    }
    note(fmt::format("setting up {} sessions with {} edges each", house.sessions, house.edges));
    auto relay = InMemoryRelay::create(house);
    if (!relay) return report(relay.error().message) == 0;
    note(fmt::format("measuring {} sessions", house.sessions));
    if (auto r = measure_relay(**relay, row); !r) {
      // The other cases stand; the whole run does not.
      failed_ = true;
      row["problem"] = r.error().message;
      report(fmt::format("{} workers: {}", house.workers, r.error().message));
      out.push_back(std::move(row));
      return true;
    }
    clear_note();
    fmt::print("{}{:>10.1f} {:>10.2f}\n", name, row["relay_ns"].get<double>(),
               row["mpps"].get<double>());
    std::fflush(stdout);
    out.push_back(std::move(row));
    return true;
  }

  Result<void> measure_relay(InMemoryRelay& r, Json& row) {
    const unsigned workers = r.house().workers;
    Feeders feeders;
    for (unsigned w = 0; w < workers; ++w) {
      r.plane().qsbr().online(w);
      feeders.push_back(std::make_unique<Feeder>(r, w));
    }
    const Traffic traffic{.payload = o_.payload, .sessions = r.house().sessions};
    double ns = 0, mpps = 0;
    if (workers == 1) {
      ns = alone_ns(r, *feeders[0], traffic, o_.slices);
      mpps = 1000 / ns;
      std::string drops;
      if (r.drops(&drops) != 0) return fail(ErrorCode::kInternal, "packets died: " + drops);
    } else {
      const auto together = together_mpps(r, feeders, traffic);
      if (!together) return tl::unexpected(together.error());
      mpps = *together;
      ns = 1000 * workers / mpps;
    }
    for (unsigned w = 0; w < workers; ++w) r.plane().qsbr().offline(w);
    row["relay_ns"] = ns;
    row["mpps"] = mpps;
    return {};
  }

  static Json print_memory() {
    using fabric::ArenaSizes;
    const uint64_t session = bytes_of_one(&ArenaSizes::sessions, 1);
    const uint64_t per_worker = bytes_of_one(&ArenaSizes::sessions, 2) - session;
    const uint64_t edge = bytes_of_one(&ArenaSizes::edges, 1);
    const uint64_t agent = bytes_of_one(&ArenaSizes::agents, 1);
    const uint64_t worker = bytes_of_one(&ArenaSizes::workers, 1) - 64 * per_worker;
    fmt::print("\nbytes of the arena: {} a session with one worker and one lane,\n", session);
    fmt::print("of which {} are its record, {} its replay window and {} its send counter;\n",
               sizeof(fabric::Session), sizeof(fabric::ReplayWindow), per_worker);
    fmt::print("{} more for each further worker; {} an edge, {} an agent, {} a worker\n",
               per_worker, edge, agent, worker);
    return {{"session_bytes", session},
            {"session_bytes_per_worker", per_worker},
            {"window_bytes", sizeof(fabric::ReplayWindow)},
            {"edge_bytes", edge},
            {"agent_bytes", agent},
            {"worker_bytes", worker}};
  }

  const Options o_;
  House base_;
  bool failed_ = false;
  std::string_view section_;
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{
      "What a packet costs with many sessions, edges and workers, and what they take of memory"};
  app.add_option("--sessions", o.sessions, "sessions in random order, one pair each; even");
  app.add_option("--edges", o.edges, "of each of --agents, below their number");
  app.add_option("--workers", o.workers, "at the same time");
  app.add_option("--agents", o.agents, "where edges or workers vary; a power of two");
  app.add_option("--payload", o.payload, "end-to-end bytes after the frame header");
  app.add_option("--burst", o.burst, "packets taken from a queue at once").range(1, 64);
  app.add_option("--core", o.core, "of one worker, and the last one of several");
  app.add_option("--slices", o.slices, "of 0.3 s each, whose median counts");
  app.add_option("--json", o.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  if ((o.agents & (o.agents - 1)) != 0 || o.agents < 2 ||
      *std::max_element(o.edges.begin(), o.edges.end()) >= o.agents) {
    fmt::print(stderr, "bench scale: --agents is a power of two, above every one of --edges\n");
    return 2;
  }
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::Bench(o).run();
}
