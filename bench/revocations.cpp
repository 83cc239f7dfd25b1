// scripts/bench control, its first half: what a revocation takes with the tables full and all
// workers at full load, one by one and ten thousand at once. bench/control.py adds the restart.
#include <csignal>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/command_line.h"
#include "bench/percentiles.h"
#include "bench/progress.h"
#include "bench/revoke_run.h"
#include "bench/scratch.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr double kCutMarginUs = 25;
constexpr double kBulkTargetMs = 1000;

volatile sig_atomic_t interrupted = 0;

struct ControlOptions {
  RevokeOptions revoke;
  uint32_t agents = 100'000;
  unsigned edges_each = 10;
};

int report(const std::string& message) {
  clear_note();
  fmt::print(stderr, "bench control: {}\n", message);
  return 1;
}

House house_of(const ControlOptions& o) {
  House house{.workers = o.revoke.workers, .first_core = o.revoke.core};
  house.sessions = 2 * o.revoke.revocations + o.revoke.others;
  house.ring = 4 * o.revoke.ring;
  house.buffers = o.revoke.workers * (3 * o.revoke.ring + 4096) + 4095;
  house.burst = o.revoke.burst;
  house.bystanders = o.agents & ~63u;
  house.bystander_edges = o.edges_each;
  return house;
}

Json print_row(const char* text, const std::vector<double>& samples) {
  const Percentiles p(samples);
  fmt::print("{:<44} {:>10.1f} {:>10.1f} {:>10.1f} {:>10.1f}\n", text, p.p50, p.p99, p.p999, p.max);
  return p.json();
}

int run(const ControlOptions& o) {
  const House wanted = house_of(o);
  if (const size_t need = InMemoryRelay::pages_needed(wanted); need > InMemoryRelay::pages_free()) {
    return report(
        fmt::format("needs {} free hugepages of 2 MB, there are {}: run scripts/setup, or "
                    "lower --agents or --edges-each",
                    need, InMemoryRelay::pages_free()));
  }
  auto eal = InMemoryRelay::start_eal(wanted);
  if (!eal) return report(eal.error().message);
  auto scratch = Scratch::create(o.revoke.state);
  if (!scratch) return report(scratch.error().message);
  House house = wanted;
  house.state_dir = scratch->path();
  note(fmt::format("setting up {} agents and {} edges", house.sessions + house.bystanders,
                   house.sessions + house.bystanders * house.bystander_edges));
  auto relay = InMemoryRelay::create(house);
  if (!relay) return report(relay.error().message);
  clear_note();
  const size_t edges = (*relay)->trust().edges().size();
  fmt::print("{} agents, {} edges; {} worker{} at full load, payload {} bytes; store on {}\n\n",
             (*relay)->trust().agents().size(), edges, o.revoke.workers,
             o.revoke.workers == 1 ? "" : "s", o.revoke.payload, scratch->file_system());
  std::fflush(stdout);
  RevokeRun bench(**relay, o.revoke, interrupted);
  bench.run();
  clear_note();
  const RevokeTotals& t = bench.totals();
  fmt::print("{:<44} {:>10} {:>10} {:>10} {:>10}\n",
             fmt::format("{} revocations, us from the start", t.done), "p50", "p99", "p99.9",
             "max");
  Json out = {{"revocations", t.done},
              {"agents", (*relay)->trust().agents().size()},
              {"edges", edges},
              {"workers", o.revoke.workers},
              {"longest_poll_us", t.longest_poll_us},
              {"packets_after_ack", t.behind + t.bulk_after},
              {"farewells", t.farewells},
              {"busy_share", t.busy_share},
              {"bulk_agents", o.revoke.bulk},
              {"bulk_10000_ms", t.bulk_ack_us / 1000},
              {"bulk_cut_us", t.bulk_cut_us},
              {"bulk_sync_us", t.bulk_sync_us},
              {"bulk_transactions", t.bulk_commits},
              {"bytes_per_edge", sizeof(fabric::Edge)},
              {"bytes_per_agent", sizeof(fabric::Agent)},
              {"store", scratch->file_system()}};
  out["report_us"] = print_row("last worker's quiescent report", bench.samples().report);
  out["cut_us"] = print_row("control knows it: cut", bench.samples().fence);
  out["sync_us"] = print_row("commit and sync alone", bench.samples().sync);
  out["ack_us"] = print_row("answer", bench.samples().ack);
  const double bound = t.longest_poll_us + kCutMarginUs, cut = out["cut_us"]["p99"];
  fmt::print("\ncut p99 {:.1f} us; longest poll {:.1f} us + {:.0f} us = {:.1f} us: {}\n", cut,
             t.longest_poll_us, kCutMarginUs, bound, cut <= bound ? "within" : "ABOVE the target");
  fmt::print(
      "packets of the revoked behind the markers: {} (target 0), but for {} notices to themselves; "
      "workers busy {:.0f} %\n",
      t.behind, t.farewells, 100 * t.busy_share);
  fmt::print(
      "{} agents by one command: cut after {:.0f} us, answered after {:.1f} ms (target {:.0f}), in "
      "{} transaction{} with a sync of {:.1f} ms; {} of their packets after it\n",
      o.revoke.bulk, t.bulk_cut_us, t.bulk_ack_us / 1000, kBulkTargetMs, t.bulk_commits,
      t.bulk_commits == 1 ? "" : "s", t.bulk_sync_us / 1000, t.bulk_after);
  fmt::print("workers' tables: {} bytes an edge (target 128), {} an agent (target 512)\n",
             sizeof(fabric::Edge), sizeof(fabric::Agent));
  if (!o.revoke.json.empty()) std::ofstream(o.revoke.json) << out.dump(1) << '\n';
  if (!t.problem.empty()) return report("NOT PROVEN: " + t.problem);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  using namespace sluice::bench;
  ControlOptions o;
  o.revoke.others = 16'384;
  o.revoke.bulk = 10'000;
  sluice::bench::CommandLine app{
      "Revocations with full tables, under full load: each step's time, and the proof"};
  app.add_option("--revocations", o.revoke.revocations).range(1, 100'000);
  app.add_option("--bulk", o.revoke.bulk, "agents revoked by one command").range(0, 1'000'000);
  app.add_option("--agents", o.agents, "beside those that talk").range(64, 1'000'000);
  app.add_option("--edges-each", o.edges_each, "of each of them").range(1, 32);
  app.add_option("--workers", o.revoke.workers).range(1, 16);
  app.add_option("--core", o.revoke.core, "of the first worker");
  app.add_option("--state", o.revoke.state, "where the store's temporary folder is made");
  app.add_option("--json", o.revoke.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  o.revoke.others = std::max(o.revoke.others, o.revoke.bulk + 4096) & ~1u;
  (void)sluice::init_logging("bench", "warn");
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  return run(o);
}
