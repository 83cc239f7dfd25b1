// scripts/bench inject: what a credential before each call costs a worker, and credentials that are
// set anew while a saturated edge uses them.
#include <atomic>
#include <bit>
#include <cstdio>
#include <fstream>

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/beside.h"
#include "bench/call_mill.h"
#include "bench/command_line.h"
#include "bench/feeder.h"
#include "bench/measure.h"
#include "bench/own_core.h"
#include "bench/progress.h"
#include "bench/scratch.h"
#include "control/credentials.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr double kTargetNs = 250;
constexpr double kTargetRatio = 0.95;
constexpr uint32_t kEdges = 64;
constexpr uint8_t kProtocol = static_cast<uint8_t>(wire::CallProtocol::kMcp);

struct Options {
  uint32_t agents = 4096;
  unsigned core = 1;
  unsigned burst = 64;
  unsigned turns = 15;
  double seconds = kSliceSeconds;
  size_t bytes = 200;
  unsigned rotations = 500;
  std::string state = "/var/tmp";
  std::string json;
};

// One credential for every agent: `number` in each of its words.
class Table final : public control::Credentials {
 public:
  Table(InMemoryRelay& relay, size_t bytes) : relay_(relay), bytes_(bytes) {}
  void set(uint64_t number) { number_ = number; }

  std::vector<control::CredentialPlace> places() const override {
    std::vector<control::CredentialPlace> out;
    for (uint32_t i = 0; i < relay_.house().sessions; ++i) out.push_back(place(i));
    return out;
  }
  control::CredentialPlace place(uint32_t agent) const {
    return {VirtualAddress::from_u64(relay_.arena().agents()[agent].address), kProtocol};
  }
  bool is_bound(const control::CredentialPlace&) const override { return true; }
  control::CredentialStatus status(const control::CredentialPlace&, int64_t) const override {
    return {control::CredentialState::kUsable, INT64_MAX, 0, "", 1, false};
  }
  Result<crypto::SecretBuffer> open(const control::CredentialPlace&) override {
    crypto::SecretBuffer out(bytes_);
    for (size_t i = 0; i + 8 <= bytes_; i += 8) store_le(out.data() + i, number_);
    return out;
  }

 private:
  InMemoryRelay& relay_;
  const size_t bytes_;
  uint64_t number_ = 1;
};

// What goes out, on the worker's thread: of CREDENTIAL frames which number they carry.
class Watch {
 public:
  explicit Watch(InMemoryRelay& relay) : relay_(relay) {}
  // `said`: the least number that may be seen.
  void collect(uint64_t said) {
    void* items[256];
    while (const unsigned n = rte_ring_sc_dequeue_burst(relay_.tx(0), items, 256, nullptr)) {
      for (unsigned i = 0; i < n; ++i) look(static_cast<rte_mbuf*>(items[i]), said);
      rte_pktmbuf_free_bulk(reinterpret_cast<rte_mbuf**>(items), n);
    }
  }
  uint64_t seen() const { return seen_; }
  uint64_t old() const { return old_; }
  uint64_t unreadable() const { return unreadable_; }

 private:
  void look(rte_mbuf* m, uint64_t said) {
    uint8_t* outer = rte_pktmbuf_mtod_offset(m, uint8_t*, kOuterHeaders);
    const size_t size = rte_pktmbuf_data_len(m) - kOuterHeaders;
    const AgentSide& a = relay_.agent(wire::read_outer(outer).receiver - 1);
    SealShape s;
    shape(wire::Seal::kFull, a.receive, a.receive_salt, outer, size, s);
    if (crypto::aead().open({&s.op, 1}) == 0) {
      ++unreadable_;
      return;
    }
    if (outer[wire::kDataRegion] != uint8_t(wire::FrameType::kCredential)) return;
    ++seen_;
    const auto number = load_le<uint64_t>(outer + wire::kDataMin + sizeof(wire::CredentialHead));
    old_ += number < said ? 1 : 0;
  }

  InMemoryRelay& relay_;
  uint64_t seen_ = 0, old_ = 0, unreadable_ = 0;
};

struct Figures {
  double with_ns = 0, without_ns = 0;  // of a call
  double added_ns = 0;                 // median of the turns' differences
  double ratio = 0;                    // of calls a second, median of the turns
  uint64_t rotations = 0, calls = 0, seen = 0;
  uint64_t failed = 0, old_after_ack = 0;
  double rotation_us = 0;
  std::string problem;
};

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o) {}

  int run() {
    crypto::init();
    House house = house_of(o_.agents);
    if (const size_t need = InMemoryRelay::pages_needed(house);
        need > InMemoryRelay::pages_free()) {
      return report(fmt::format(
          "needs {} free hugepages of 2 MB, there are {}: run scripts/setup, or lower --agents",
          need, InMemoryRelay::pages_free()));
    }
    auto eal = InMemoryRelay::start_eal(house);
    if (!eal) return report(eal.error().message);
    Figures f;
    if (auto r = with_relay(house, [&](auto&&... bed) { costs(bed..., f); }); !r) {
      return report(r.error().message);
    }
    if (f.problem.empty()) {
      house = house_of(kEdges);
      if (auto r = with_relay(house, [&](auto&&... bed) { rotations(bed..., f); }); !r) {
        return report(r.error().message);
      }
    }
    clear_note();
    return print(f);
  }

 private:
  House house_of(uint32_t agents) const {
    House house{.workers = 1, .first_core = o_.core, .sessions = agents};
    house.burst = static_cast<uint16_t>(o_.burst);
    house.prepared_keys = house.call_pages = agents;
    // As many as all of them have while a key is held, however few they are.
    house.calls_each = std::bit_ceil(std::max<uint32_t>(64, 262'144 / agents));
    house.keys_each = std::bit_ceil(std::max<uint32_t>(1024, 4'194'304 / agents));
    house.credentials = 2 * agents;  // while all are set anew, the ones before rest
    return house;
  }

  template <typename Measure>
  Result<void> with_relay(House house, Measure&& measure) {
    auto scratch = Scratch::create(o_.state);
    if (!scratch) return tl::unexpected(scratch.error());
    note(fmt::format("setting up {} agents", house.sessions));
    const auto identities = Callers::identities(house.sessions);
    house.state_dir = scratch->path();
    house.identities = Callers::public_keys(identities);
    auto relay = InMemoryRelay::create(house);
    if (!relay) return tl::unexpected(relay.error());
    Callers callers(**relay, identities);
    prepared_ = callers.prepare_keys();
    Table table(**relay, o_.bytes);
    (*relay)->control().credential_slots().serve(table);
    for (const auto& at : table.places()) (*relay)->control().credential_slots().changed(at, {});
    CallMill mill(**relay, callers);
    measure(**relay, table, mill);
    return {};
  }

  static int report(const std::string& message) {
    clear_note();
    fmt::print(stderr, "bench inject: {}\n", message);
    return 1;
  }
  static void row(const std::string& what, const std::string& value, const std::string& note = "") {
    fmt::print("   {:<52} {:>12}   {}\n", what, value, note);
  }
  static std::string target(bool met, const std::string& text) {
    return fmt::format("(target {}){}", text, met ? "" : " MISSED");
  }

  // Every agent's slot by hand, so that turns follow each other at once; control stands by.
  static void give_all(InMemoryRelay& relay, bool given, std::vector<uint32_t>& slots) {
    auto agents = relay.arena().agent_credentials();
    slots.resize(relay.house().sessions);
    for (uint32_t i = 0; i < slots.size(); ++i) {
      auto& at = agents[i].of[kProtocol];
      if (!given) slots[i] = at.load(std::memory_order_relaxed);
      at.store(given ? slots[i] : fabric::kNoCredential, std::memory_order_release);
    }
  }

  void costs(InMemoryRelay& relay, Table&, CallMill& mill, Figures& f) {
    run_beside_control(relay, [&] {
      std::vector<uint32_t> slots;
      std::vector<double> with, without, added, ratios;
      // Every page and key is there.
      while (mill.lately().size() < relay.house().sessions) {
        (void)mill.stretch();
        mill.collect();
      }
      const auto per_call = [&] {
        std::vector<double> ns;
        uint64_t ticks = 0;
        const auto wanted = static_cast<uint64_t>(o_.seconds * double(relay.clock().hz()));
        while (ticks < wanted) {
          const auto [spent, signatures] = mill.stretch();
          mill.collect();
          if (signatures == 0) return 0.0;
          ticks += spent;
          ns.push_back(1000 * relay.clock().us_from_ticks(spent) / CallMill::kGroup);
        }
        return median(ns);
      };
      for (unsigned t = 0; t < o_.turns; ++t) {
        note(fmt::format("turn {} of {}: {} calls", t + 1, o_.turns, mill.opened()));
        // In turns that change places, so that a drift of the machine favours neither.
        double given = 0, plain = 0;
        if (t % 2 == 0) given = per_call();
        give_all(relay, false, slots);
        plain = per_call();
        give_all(relay, true, slots);
        if (t % 2 != 0) given = per_call();
        with.push_back(given);
        without.push_back(plain);
        added.push_back(given - plain);
        ratios.push_back(plain / given);
        f.problem = mill.problem();
        if (!f.problem.empty()) return;
      }
      f.with_ns = median(with);
      f.without_ns = median(without);
      f.added_ns = median(added);
      f.ratio = median(ratios);
    });
  }

  // Of every edge at a time; each rotation begins when the one before has been said to be done.
  void rotations(InMemoryRelay& relay, Table& table, CallMill& mill, Figures& f) {
    std::atomic<uint64_t> said{0};
    uint64_t number = 1;
    unsigned left = 0;
    std::function<void()> rotate, one_done;
    rotate = [&] {
      table.set(++number);
      left = relay.house().sessions;
      for (uint32_t i = 0; i < relay.house().sessions; ++i) {
        relay.control().credential_slots().changed(table.place(i), one_done);
      }
    };
    one_done = [&] {
      if (--left != 0) return;
      said.store(number, std::memory_order_release);
      if (number <= o_.rotations) rotate();
    };
    Watch watch(relay);
    const uint64_t began = relay.clock().ticks();
    rotate();
    run_beside_control(relay, [&] {
      dataplane::Worker& worker = relay.plane().worker(0);
      while (said.load(std::memory_order_relaxed) <= o_.rotations) {
        note(fmt::format("{} rotations, {} calls", said.load(), mill.opened()));
        if (!mill.prepare()) return;
        mill.enqueue();
        do {
          const uint64_t before = said.load(std::memory_order_acquire);
          worker.poll_once();
          watch.collect(before);
        } while (mill.waits());
      }
    });
    f.rotations = o_.rotations;
    f.rotation_us = relay.clock().us_from_ticks(relay.clock().ticks() - began) / o_.rotations;
    f.calls = mill.opened();
    f.failed = mill.opened() - relay.arena().counters(0).calls[0].get();
    f.seen = watch.seen();
    f.old_after_ack = watch.old();
    f.problem = watch.unreadable() != 0 ? "frames that their receiver cannot open" : mill.problem();
  }

  int print(const Figures& f) {
    fmt::print("   {} agents that call each other, each with a credential of {} bytes; keys {}\n\n",
               o_.agents, o_.bytes,
               prepared_ ? "prepared" : "NOT PREPARED, as this CPU has no lanes");
    row("a call without a credential", fmt::format("{:.0f} ns", f.without_ns));
    row("a call with one", fmt::format("{:.0f} ns", f.with_ns));
    row("added", fmt::format("{:.0f} ns", f.added_ns),
        target(f.added_ns <= kTargetNs, fmt::format("{} ns", kTargetNs)));
    row("calls a second, with to without", fmt::format("{:.3f}", f.ratio),
        target(f.ratio >= kTargetRatio, fmt::format("{}", kTargetRatio)));
    fmt::print("\n");
    row("rotations of the credentials of 64 saturated edges", fmt::format("{}", f.rotations),
        fmt::format("{:.0f} us each", f.rotation_us));
    row("calls meanwhile", fmt::format("{}", f.calls), fmt::format("{} credentials seen", f.seen));
    row("calls that failed", fmt::format("{}", f.failed), target(f.failed == 0, "0"));
    row("old values after the answer", fmt::format("{}", f.old_after_ack),
        target(f.old_after_ack == 0, "0"));
    if (!f.problem.empty()) return report(f.problem);
    if (!o_.json.empty()) {
      const Json out = {{"inject_ns", f.added_ns},
                        {"ratio", f.ratio},
                        {"failed_calls", f.failed},
                        {"old_value_after_ack", f.old_after_ack},
                        {"call_ns", {{"with", f.with_ns}, {"without", f.without_ns}}},
                        {"credential_bytes", o_.bytes},
                        {"rotations", f.rotations},
                        {"rotation_us", f.rotation_us},
                        {"calls_under_rotation", f.calls}};
      std::ofstream(o_.json) << out.dump(1) << '\n';
    }
    return 0;
  }

  const Options o_;
  bool prepared_ = false;
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{"Credentials before calls: their cost, and rotation under load"};
  app.add_option("--agents", o.agents, "that call each other; an even number").range(2, 16'384);
  app.add_option("--bytes", o.bytes, "of a credential").range(8, 8'192);
  app.add_option("--turns", o.turns, "with and without").range(1, 1'000);
  app.add_option("--seconds", o.seconds, "of each turn").range(0.01, 60.0);
  app.add_option("--rotations", o.rotations, "under load").range(1, 1'000'000);
  app.add_option("--burst", o.burst, "packets a round").range(1, 64);
  app.add_option("--core", o.core, "of the worker; control takes the one after");
  app.add_option("--state", o.state, "where the store's temporary folder is made");
  app.add_option("--json", o.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  o.agents &= ~1u;
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::Bench(o).run();
}
