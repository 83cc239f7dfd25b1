// scripts/bench storm: very many agents lose their relay together and come back, while others talk;
// once alone, and once beside sources that send HELLOs and never answer.
#include <sched.h>
#include <time.h>

#include <csignal>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/command_line.h"
#include "bench/loop.h"
#include "bench/percentiles.h"
#include "bench/progress.h"
#include "bench/scratch.h"
#include "bench/storm_agents.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

volatile sig_atomic_t interrupted = 0;

struct Options {
  uint32_t agents = 100'000;
  uint32_t talkers = 1000;
  double talk_per_s = 100'000;
  double spread_s = 1;
  double spoofed_per_s = 100'000;
  double patience_s = 120;
  unsigned core = 1;
  std::string state = "/var/tmp";
  std::string json;
};

constexpr double kQuietS = 2;

int report(const std::string& message) {
  clear_note();
  fmt::print(stderr, "bench storm: {}\n", message);
  return 1;
}

// What the worker's core does: the worker's own rounds, and everybody outside between them.
struct Core {
  InMemoryRelay* relay;
  StormAgents* agents;
  const std::atomic<bool>* stop;
  uint64_t polling = 0;  // ticks
};

int run_core(void* arg) {
  auto& c = *static_cast<Core*>(arg);
  dataplane::Worker& worker = c.relay->plane().worker(0);
  fabric::Qsbr& qsbr = c.relay->plane().qsbr();
  qsbr.online(0);
  while (!c.stop->load(std::memory_order_relaxed)) {
    c.agents->prepare();
    do {
      const uint64_t before = c.relay->clock().ticks();
      worker.poll_once();
      c.polling += c.relay->clock().ticks() - before;
      c.agents->collect();
    } while (c.agents->release());
  }
  qsbr.offline(0);
  return 0;
}

struct Outcome {
  bool all_up = false;
  uint32_t up = 0;
  double seconds = 0;
  double control_share = 0;  // of the time, in control's rounds
  double worker_share = 0;
  StormCounts counts;
  Percentiles wait_ms{{}};
  Talk talk;
  control::OutcomeCounts handshakes{};
};

class Run {
 public:
  Run(const Options& o, InMemoryRelay& relay, std::vector<Initiator>& initiators)
      : o_(o), relay_(relay), initiators_(initiators), agents_(relay, initiators) {}

  // Talk alone.
  Talk quiet() {
    Outcome out;
    storm({.greet = false, .talk_per_s = o_.talk_per_s}, kQuietS, out);
    return std::move(out.talk);
  }

  Outcome storm_with(double spoofed_per_s) {
    greet();
    Outcome out;
    storm({true, o_.spread_s, spoofed_per_s, o_.talk_per_s}, o_.patience_s, out);
    return out;
  }

 private:
  void greet() {
    const Initiators make(relay_.control().keys().tunnel.public_key);
    uint64_t shown = 0;
    for (size_t i = 0; i < initiators_.size(); i += Initiators::kAtOnce) {
      std::array<Initiator*, Initiators::kAtOnce> some;
      const size_t n = std::min(Initiators::kAtOnce, initiators_.size() - i);
      for (size_t k = 0; k < n; ++k) some[k] = &initiators_[i + k];
      const auto first = relay_.house().sessions - relay_.house().offline + i;
      make.greet({some.data(), n}, static_cast<uint32_t>(first) + 1, relay_.clock().unix_ms());
      if (i - shown < 20'000) continue;
      shown = i;
      note(fmt::format("{} of {} HELLOs made ahead of the clock", i, initiators_.size()));
    }
  }

  void storm(const StormCase& c, double patience_s, Outcome& out) {
    const Clock& clock = relay_.clock();
    const auto before = relay_.control().handshakes().counts();
    std::atomic<bool> stop{false};
    Core core{&relay_, &agents_, &stop};
    agents_.listen(&out.talk);
    agents_.begin(c);
    const uint64_t began = clock.ticks();
    const uint64_t end = began + static_cast<uint64_t>(patience_s * double(clock.hz()));
    rte_eal_remote_launch(run_core, &core, 1);
    uint64_t busy = 0, shown = began;
    while (!interrupted && !agents_.all_up() && clock.ticks() < end) {
      const uint64_t from = clock.ticks();
      const unsigned pause_us = relay_.poll_control();
      const uint64_t now = clock.ticks();
      busy += now - from;
      if (c.greet && now - shown > clock.hz()) {
        shown = now;
        note(fmt::format("{} of {} agents are back", agents_.up(), initiators_.size()));
      }
      if (pause_us == 0) continue;
      const timespec pause{0, long{pause_us} * 1000};
      nanosleep(&pause, nullptr);
    }
    const uint64_t took = clock.ticks() - began;
    stop = true;
    rte_eal_mp_wait_lcore();
    clear_note();
    out.all_up = agents_.all_up();
    out.up = agents_.up();
    out.seconds = clock.us_from_ticks(took) / 1e6;
    out.control_share = double(busy) / double(took);
    out.worker_share = double(core.polling) / double(took);
    out.counts = agents_.counts();
    out.wait_ms = Percentiles(agents_.waits());
    out.handshakes = relay_.control().handshakes().counts();
    for (size_t i = 0; i < before.size(); ++i) out.handshakes[i] -= before[i];
  }

  const Options& o_;
  InMemoryRelay& relay_;
  std::vector<Initiator>& initiators_;
  StormAgents agents_;
};

Json talk_json(const Talk& t) {
  return {{"sent", t.sent},
          {"received", t.received},
          {"goodput", t.share()},
          {"us", Percentiles(t.us).json()}};
}

Json print_storm(const char* name, const Options& o, const Outcome& r, const Talk& quiet) {
  const Percentiles talk(r.talk.us), alone(quiet.us);
  fmt::print("{}: {} of {} agents back after {:.2f} s, {:.0f} a second\n", name, r.up, o.agents,
             r.seconds, r.up / r.seconds);
  fmt::print(
      "  an agent's wait: p50 {:.0f} ms, p99 {:.0f} ms, longest {:.0f} ms; {:.2f} HELLOs and "
      "{:.2f} cookies each\n",
      r.wait_ms.p50, r.wait_ms.p99, r.wait_ms.max, double(r.counts.hellos) / o.agents,
      double(r.counts.cookies) / o.agents);
  if (r.counts.spoofed != 0) {
    fmt::print("  beside {} HELLOs of sources that never answer, {:.0f} a second\n",
               r.counts.spoofed, double(r.counts.spoofed) / r.seconds);
  }
  fmt::print(
      "  those who talk: {:.5f} of {} packets arrived (alone {:.5f}); in the relay p50 {:.1f}, "
      "p99 {:.1f} us (alone {:.1f}, {:.1f})\n",
      r.talk.share(), r.talk.sent, quiet.share(), talk.p50, talk.p99, alone.p50, alone.p99);
  fmt::print("  control worked for {:.0f} % of the time, the worker for {:.0f} %\n",
             100 * r.control_share, 100 * r.worker_share);
  Json handshakes = Json::object();
  std::string text;
  for (size_t i = 0; i < r.handshakes.size(); ++i) {
    if (r.handshakes[i] == 0) continue;
    handshakes[control::kOutcomeTable[i].name] = r.handshakes[i];
    text += fmt::format(" {} {}", control::kOutcomeTable[i].name, r.handshakes[i]);
  }
  fmt::print("  control's handshakes:{}\n\n", text);
  return {{"agents", o.agents},
          {"back", r.up},
          {"seconds", r.seconds},
          {"per_second", r.up / r.seconds},
          {"wait_ms", r.wait_ms.json()},
          {"hellos", r.counts.hellos},
          {"cookies", r.counts.cookies},
          {"spoofed", r.counts.spoofed},
          {"no_room", r.counts.no_room},
          {"refused", r.counts.refused},
          {"not_authentic", r.counts.not_authentic},
          {"control_busy", r.control_share},
          {"worker_busy", r.worker_share},
          {"handshakes", handshakes},
          {"talk", talk_json(r.talk)}};
}

int run(const Options& o) {
  House house{.workers = 1, .first_core = o.core};
  house.sessions = o.talkers + o.agents;
  house.offline = o.agents;
  // The second storm's sessions stand beside the first one's until these are confirmed.
  house.spare_sessions = o.agents + 4096;
  house.prepared_keys =
      std::min<uint32_t>(house.sessions, (32u << 20) / sizeof(crypto::PreparedKey));
  house.buffers = 65535;
  if (const size_t need = InMemoryRelay::pages_needed(house); need > InMemoryRelay::pages_free()) {
    return report(
        fmt::format("needs {} free hugepages of 2 MB, there are {}: run scripts/setup, or "
                    "lower --agents",
                    need, InMemoryRelay::pages_free()));
  }
  auto eal = InMemoryRelay::start_eal(house);
  if (!eal) return report(eal.error().message);
  auto scratch = Scratch::create(o.state);
  if (!scratch) return report(scratch.error().message);
  house.state_dir = scratch->path();
  note(fmt::format("making {} identities", o.agents));
  std::vector<Initiator> initiators(o.agents);
  house.identities.resize(house.sessions);
  for (uint32_t i = 0; i < house.sessions; ++i) {
    if (i >= o.talkers) {
      house.identities[i] = initiators[i - o.talkers].identity.public_key();
    } else {
      store_le(house.identities[i].data(), uint64_t{i} + 1);
    }
  }
  note(fmt::format("enrolling {} agents", house.sessions));
  auto relay = InMemoryRelay::create(house);
  if (!relay) return report(relay.error().message);
  clear_note();
  fmt::print(
      "{} agents come back within {} s; {} talk, {:.0f} packets a second; public keys by {}\n\n",
      o.agents, o.spread_s, o.talkers, o.talk_per_s, crypto::name_of(crypto::batch_engine()));
  std::fflush(stdout);
  Run bench(o, **relay, initiators);
  const Talk quiet = bench.quiet();
  Json out = {{"engine", crypto::name_of(crypto::batch_engine())}, {"quiet", talk_json(quiet)}};
  bool all = true;
  const auto one = [&](const char* key, const char* name, double spoofed_per_s) {
    const Outcome r = bench.storm_with(spoofed_per_s);
    out[key] = print_storm(name, o, r, quiet);
    all = all && r.all_up && r.counts.not_authentic == 0;
  };
  one("storm", "storm", 0);
  if (o.spoofed_per_s > 0 && !interrupted) one("spoofed", "storm beside a flood", o.spoofed_per_s);
  if (!o.json.empty()) std::ofstream(o.json) << out.dump(1) << '\n';
  if (interrupted) return report("interrupted");
  return all ? 0 : report("not every agent came back: see above");
}

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{"Very many agents reconnect at once, while others talk"};
  app.add_option("--agents", o.agents, "that come back").range(2, 500'000);
  app.add_option("--talkers", o.talkers, "that have a session all the time; an even number")
      .range(2, 100'000);
  app.add_option("--talk-rate", o.talk_per_s, "their packets a second, of 64 bytes")
      .range(0.0, 1e6);
  app.add_option("--spread", o.spread_s, "seconds into which the first HELLOs fall")
      .range(0.0, 600.0);
  app.add_option("--spoofed-rate", o.spoofed_per_s,
                 "HELLOs a second of sources that never answer, in the second storm; 0: none")
      .range(0.0, 1e6);
  app.add_option("--patience", o.patience_s, "seconds for one storm").range(1.0, 3600.0);
  app.add_option("--core", o.core, "of the worker and all agents; control takes the one after");
  app.add_option("--state", o.state, "where the store's temporary folder is made");
  app.add_option("--json", o.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  o.agents &= ~1u;
  o.talkers &= ~1u;
  (void)sluice::init_logging("bench", "warn");
  struct sigaction action {};
  action.sa_handler = [](int) { sluice::bench::interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  return sluice::bench::run(o);
}
