// scripts/bench revoke: agents revoked one by one under full load; what each step takes, and how
// many of an agent's packets were handed over behind the proof that there are none.
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

constexpr double kFenceMarginUs = 25;
// More than are let through of an agent before it is revoked.
constexpr uint32_t kCallsEach = 64;

volatile sig_atomic_t interrupted = 0;

void catch_signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
}

int report(const std::string& message) {
  clear_note();
  fmt::print(stderr, "bench revoke: {}\n", message);
  return 1;
}

House house_of(const RevokeOptions& o) {
  House house{.workers = o.workers, .first_core = o.core};
  house.sessions = 2 * o.revocations + o.others;
  // What a worker sends while nobody collects has room, and a marker always.
  house.ring = 4 * o.ring;
  house.buffers = o.workers * (3 * o.ring + 4096) + 4095;
  house.burst = o.burst;
  if (o.calls != 0) {
    // A page stays with its agent for longer than the run.
    house.call_pages = 2 * o.revocations;
    house.calls_each = kCallsEach;
    house.keys_each = 2 * kCallsEach;
  }
  return house;
}

struct Step {
  const char* key;
  const char* text;
  const std::vector<double> RevokeSamples::*samples;
};

constexpr Step kSteps[] = {
    {"store_us", "store of the agent's state", &RevokeSamples::store},
    {"report_us", "last worker's quiescent report", &RevokeSamples::report},
    {"fence_us", "fence: control knows it, `cut`", &RevokeSamples::fence},
    {"wipe_us", "keys wiped", &RevokeSamples::wipe},
    {"sync_us", "commit and sync alone", &RevokeSamples::sync},
    {"durable_us", "commit known to control", &RevokeSamples::durable},
    {"ack_us", "answer", &RevokeSamples::ack},
};

Json print_steps(const RevokeSamples& samples) {
  Json out;
  fmt::print("{:<34} {:>10} {:>10} {:>10} {:>10}   us from the start\n", "step", "p50", "p99",
             "p99.9", "max");
  for (const Step& s : kSteps) {
    const Percentiles p(samples.*s.samples);
    fmt::print("{:<34} {:>10.1f} {:>10.1f} {:>10.1f} {:>10.1f}\n", s.text, p.p50, p.p99, p.p999,
               p.max);
    out[s.key] = p.json();
  }
  return out;
}

void print_totals(const RevokeTotals& t, double fence_p99) {
  const double bound = t.longest_poll_us + kFenceMarginUs;
  fmt::print(
      "\npackets behind the marker: {} (target 0) in {} revocations; {} of the revoked were told\n",
      t.behind, t.done, t.farewells);
  fmt::print("fence p99 {:.1f} us, longest poll {:.1f} us: {} {:.1f} us\n", fence_p99,
             t.longest_poll_us, fence_p99 <= bound ? "within" : "ABOVE the target,", bound);
  fmt::print(
      "of the revoked agents' packets {} left before the cut, {} were offered around it and died\n",
      t.passed, t.died);
  fmt::print(
      "idle polls during fences: {} in {} of them; the workers were busy for {:.0f} % of the run\n",
      t.idle_in_fence, t.ran_empty, 100 * t.busy_share);
  fmt::print(
      "when an agent's state was stored, {} calls waited for signatures ({} of the revocations) "
      "and "
      "{} packets in rings between workers ({}); {} calls of peers were denied\n",
      t.calls_waiting, t.with_calls, t.in_handover, t.with_handover, t.calls_denied);
  fmt::print("messages to peers: {} sent, {} acknowledged, {} repeated\n", t.messages,
             t.acknowledged, t.repeated);
}

int run(const RevokeOptions& o) {
  const House wanted = house_of(o);
  if (const size_t need = InMemoryRelay::pages_needed(wanted); need > InMemoryRelay::pages_free()) {
    return report(
        fmt::format("needs {} free hugepages of 2 MB, there are {}: run scripts/setup, "
                    "or lower --revocations",
                    need, InMemoryRelay::pages_free()));
  }
  auto eal = InMemoryRelay::start_eal(wanted);
  if (!eal) return report(eal.error().message);
  auto scratch = Scratch::create(o.state);
  if (!scratch) return report(scratch.error().message);
  House house = wanted;
  house.state_dir = scratch->path();
  std::vector<crypto::Identity> identities;
  if (o.calls != 0) {
    identities = Callers::identities(house.sessions);
    house.identities = Callers::public_keys(identities);
  }
  note(fmt::format("setting up {} agents", house.sessions));
  auto relay = InMemoryRelay::create(house);
  if (!relay) return report(relay.error().message);
  clear_note();
  fmt::print("{} revocations, {} worker{}, {} other agents, payload {} bytes; store on {}{}\n\n",
             o.revocations, o.workers, o.workers == 1 ? "" : "s", o.others, o.payload,
             scratch->file_system(),
             scratch->in_memory() ? ", where a sync costs nothing: name a disk with --state" : "");
  std::fflush(stdout);
  std::optional<Callers> callers;
  if (o.calls != 0) callers.emplace(**relay, identities);
  RevokeRun bench(**relay, o, interrupted, callers ? &*callers : nullptr);
  bench.run();
  clear_note();
  const RevokeTotals& t = bench.totals();
  Json out = {{"revocations", t.done},
              {"packets_after_ack", t.behind},
              {"longest_poll_us", t.longest_poll_us},
              {"workers", o.workers},
              {"store", scratch->file_system()},
              {"farewells", t.farewells},
              {"handed_over", t.handed_over},
              {"handover_waiting", {{"revocations", t.with_handover}, {"packets", t.in_handover}}},
              {"calls_waiting", {{"revocations", t.with_calls}, {"calls", t.calls_waiting}}},
              {"calls_denied", t.calls_denied},
              {"left_before", t.passed},
              {"died", t.died},
              {"idle_polls_in_fences", t.idle_in_fence},
              {"busy_share", t.busy_share},
              {"proven", t.problem.empty()}};
  out.update(print_steps(bench.samples()));
  print_totals(t, out["fence_us"]["p99"]);
  if (!o.json.empty()) std::ofstream(o.json) << out.dump(1) << '\n';
  if (!t.problem.empty()) return report("NOT PROVEN: " + t.problem);
  return 0;
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::RevokeOptions o;
  sluice::bench::CommandLine app{
      "Revocations one by one under full load: each step's time, and the proof"};
  app.add_option("--revocations", o.revocations).range(1, 100'000);
  app.add_option("--workers", o.workers).range(1, 16);
  app.add_option("--core", o.core, "of the first worker; control and generator take the one after");
  app.add_option("--others", o.others, "agents that are not revoked; an even number")
      .range(2, 1'000'000);
  app.add_option("--payload", o.payload, "end-to-end bytes after the frame header").range(0, 1400);
  app.add_option("--burst", o.burst, "packets taken from a queue at once").range(1, 64);
  app.add_option("--ring", o.ring, "packets waiting for each worker when a revocation begins")
      .one_of({"1024", "2048", "4096", "8192"});
  app.add_option("--calls", o.calls,
                 "calls among an agent's and its peer's first packets, which wait for signatures")
      .range(0, 128);
  app.add_option("--state", o.state, "where the store's temporary folder is made");
  app.add_option("--json", o.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  o.others &= ~1u;
  (void)sluice::init_logging("bench", "warn");
  sluice::bench::catch_signals();
  return sluice::bench::run(o);
}
