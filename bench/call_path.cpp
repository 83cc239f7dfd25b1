// scripts/bench calls, what runs in one process: signatures in the call path against the verifier
// alone and where a call's time goes, data beside calls, tenants beside one that floods.
// bench/calls.py adds the audit log.
#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/log.h"
#include "bench/beside.h"
#include "bench/call_latency.h"
#include "bench/call_rates.h"
#include "bench/call_tenants.h"
#include "bench/command_line.h"
#include "bench/measure.h"
#include "bench/progress.h"
#include "bench/scratch.h"

namespace sluice::bench {
namespace {

using Json = nlohmann::json;

constexpr double kTargetRatio = 0.8;
constexpr double kTargetAddedUs = 100;
constexpr double kTargetVerifierUs = 5;
constexpr double kTargetJain = 0.99;
constexpr double kTargetChange = 0.1;
constexpr unsigned kStageGroups = 200;
// What a frame of a flood costs, for a first guess.
constexpr double kFloodNs = 500;

struct Options {
  uint32_t agents = 4096;
  unsigned core = 1;
  unsigned burst = 64;
  unsigned slices = kSlices;
  double seconds = kSliceSeconds;
  LatencyOptions latency;
  TenantOptions tenants;
  std::vector<std::string> parts = {"rates", "latency", "tenants"};
  std::string state = "/var/tmp";
  std::string json;

  bool has(const char* part) const {
    return std::find(parts.begin(), parts.end(), part) != parts.end();
  }
};

// A relay whose agents can call each other; control and its store in a folder of its own.
struct Bed {
  std::vector<crypto::Identity> identities;
  Scratch scratch;
  std::unique_ptr<InMemoryRelay> relay;
  std::unique_ptr<Callers> callers;
  bool prepared = false;
};

House house_of(const Options& o) {
  House house{.workers = 1, .first_core = o.core, .sessions = o.agents};
  house.burst = static_cast<uint16_t>(o.burst);
  house.prepared_keys = o.agents;
  house.call_pages = o.agents;
  house.calls_each = 64;
  // A key is held for two minutes, and no part takes longer: as many as an agent uses.
  house.keys_each = 1024;
  return house;
}

class Bench {
 public:
  explicit Bench(const Options& o) : o_(o) {}

  int run() {
    crypto::init();
    const House house = house_of(o_);
    if (const size_t need = InMemoryRelay::pages_needed(house);
        need > InMemoryRelay::pages_free()) {
      return report(fmt::format(
          "needs {} free hugepages of 2 MB, there are {}: run scripts/setup, or lower --agents",
          need, InMemoryRelay::pages_free()));
    }
    auto eal = InMemoryRelay::start_eal(house);
    if (!eal) return report(eal.error().message);
    bool good = !(o_.has("rates") || o_.has("latency")) || calls_of_one_tenant(house);
    if (good && o_.has("latency")) good = latency_with_verifier(house);
    if (good && o_.has("tenants")) good = calls_of_ten(house);
    if (!o_.json.empty()) std::ofstream(o_.json) << out_.dump(1) << '\n';
    return good ? 0 : 1;
  }

 private:
  static int report(const std::string& message) {
    clear_note();
    fmt::print(stderr, "bench calls: {}\n", message);
    return 1;
  }
  static void row(const std::string& what, const std::string& value, const std::string& note = "") {
    fmt::print("   {:<52} {:>12}   {}\n", what, value, note);
    std::fflush(stdout);
  }
  static std::string target(bool met, const std::string& text) {
    return fmt::format("(target {}){}", text, met ? "" : " MISSED");
  }

  Result<std::unique_ptr<Bed>> make_bed(House house) {
    auto scratch = Scratch::create(o_.state);
    if (!scratch) return tl::unexpected(scratch.error());
    note(fmt::format("setting up {} agents", house.sessions));
    auto bed = std::unique_ptr<Bed>(
        new Bed{Callers::identities(house.sessions), std::move(*scratch), nullptr, nullptr});
    house.state_dir = bed->scratch.path();
    house.identities = Callers::public_keys(bed->identities);
    auto relay = InMemoryRelay::create(house);
    if (!relay) return tl::unexpected(relay.error());
    bed->relay = std::move(*relay);
    bed->callers = std::make_unique<Callers>(*bed->relay, bed->identities);
    bed->prepared = bed->callers->prepare_keys();
    clear_note();
    return bed;
  }

  bool calls_of_one_tenant(const House& house) {
    auto bed = make_bed(house);
    if (!bed) return report(bed.error().message) == 0;
    Bed& b = **bed;
    fmt::print("   {} agents that call each other; keys {}; back end {}; audit log on {}\n",
               o_.agents, b.prepared ? "prepared" : "NOT PREPARED, as this CPU has no lanes",
               crypto::name_of(crypto::batch_engine()), b.scratch.file_system());
    if (o_.has("rates") && !rates(b)) return false;
    return !o_.has("latency") || latency(b);
  }

  bool rates(Bed& b) {
    CallRates r;
    std::vector<CallStage> stages;
    {
      CallMill mill(*b.relay, *b.callers);
      run_beside_control(*b.relay, [&] {
        r = measure_call_rates(*b.relay, mill, o_.slices, o_.seconds);
        if (r.problem.empty()) stages = measure_call_stages(*b.relay, mill, kStageGroups);
      });
      if (r.problem.empty()) r.problem = mill.problem();
    }
    clear_note();
    if (!r.problem.empty()) return report(r.problem) == 0;
    fmt::print("\n");
    row("calls opened, accepted and closed", fmt::format("{:.0f}/s", r.path_per_second / 2));
    row("signatures verified in them", fmt::format("{:.0f}/s", r.path_per_second));
    row("the verifier alone, 8 at a time", fmt::format("{:.0f}/s", r.verifier_per_second));
    row("the verifier alone, 64 at a time", fmt::format("{:.0f}/s", r.verifier64_per_second));
    row("signatures in calls to the faster of these", fmt::format("{:.3f}", r.ratio),
        target(r.ratio >= kTargetRatio, fmt::format("{}", kTargetRatio)));
    row("of the worst turn somebody else had", fmt::format("{:.1f} %", 100 * r.lost));
    fmt::print("\n");
    Json parts;
    double sum = 0;
    for (const CallStage& s : stages) {
      row(fmt::format("  {}", s.name), fmt::format("{:.0f} ns", s.ns));
      parts[s.name] = s.ns;
      if (&s != &stages.back()) sum += s.ns;
    }
    row("a call: 4 frames, 2 signatures", fmt::format("{:.0f} ns", sum));
    call_ns_ = 2e9 / r.path_per_second;
    out_["calls_per_second"] = r.path_per_second / 2;
    out_["verify_per_second"] = r.path_per_second;
    out_["verifier_alone_per_second"] = {{"batches_of_8", r.verifier_per_second},
                                         {"batches_of_64", r.verifier64_per_second}};
    out_["ratio"] = r.ratio;
    out_["lost_share"] = r.lost;
    out_["call_ns"] = parts;
    return true;
  }

  LatencyFigures measure_latency(Bed& b) {
    LatencyFigures l;
    {
      Player player(*b.relay);
      // A quarter sends data, the others call; both even numbers.
      const uint32_t first_caller = b.relay->house().sessions / 8 * 2;
      run_beside_control(*b.relay, [&] {
        l = measure_call_latency(*b.relay, *b.callers, player, o_.latency, first_caller);
      });
    }
    clear_note();
    return l;
  }

  Json to_json(const LatencyFigures& l) const {
    return {{"data_per_second", o_.latency.data_per_s},
            {"calls_per_second", l.calls_per_s},
            {"p50_us_alone", l.p50_alone},
            {"p99_us_alone", l.p99_alone},
            {"p50_us_beside", l.p50_beside},
            {"p99_us_beside", l.p99_beside},
            {"busy_alone", l.busy_alone},
            {"busy_beside", l.busy_beside},
            {"lost", l.lost},
            {"lost_reasons", l.reasons},
            {"hiccups", l.hiccups},
            {"longest_round_us", l.longest_us}};
  }

  bool latency(Bed& b) {
    const LatencyFigures l = measure_latency(b);
    if (!l.problem.empty()) return report(l.problem) == 0;
    fmt::print("\n");
    row("data frames from RX to TX, alone: p50, p99", fmt::format("{:.1f} us", l.p50_alone),
        fmt::format("{:.1f} us; {:.0f}/s, worker busy {:.0f} %", l.p99_alone, o_.latency.data_per_s,
                    100 * l.busy_alone));
    row(fmt::format("beside {:.0f} calls/s: p50, p99", l.calls_per_s),
        fmt::format("{:.1f} us", l.p50_beside),
        fmt::format("{:.1f} us; worker busy {:.0f} %", l.p99_beside, 100 * l.busy_beside));
    row("added p99, signatures on the worker", fmt::format("{:.1f} us", l.added_p99),
        target(l.added_p99 <= kTargetAddedUs, fmt::format("{:.0f} us", kTargetAddedUs)));
    row("frames lost; rounds above 300 us, the longest", std::to_string(l.lost),
        fmt::format("{}, {:.0f} us; {}", l.hiccups, l.longest_us, l.reasons));
    out_["added_p99_us_inline"] = l.added_p99;
    out_["latency"] = to_json(l);
    return true;
  }

  bool latency_with_verifier(House house) {
    house.verifiers = 1;
    auto bed = make_bed(house);
    if (!bed) return report(bed.error().message) == 0;
    const LatencyFigures l = measure_latency(**bed);
    if (!l.problem.empty()) return report(l.problem) == 0;
    row(fmt::format("beside {:.0f} calls/s, with a verifier: p50, p99", l.calls_per_s),
        fmt::format("{:.1f} us", l.p50_beside),
        fmt::format("{:.1f} us; worker busy {:.0f} %", l.p99_beside, 100 * l.busy_beside));
    row("added p99, signatures on control's core", fmt::format("{:.1f} us", l.added_p99),
        target(l.added_p99 <= kTargetVerifierUs, fmt::format("{:.0f} us", kTargetVerifierUs)) +
            "; needs 3 cores, so that the verifier has one to itself");
    row("frames lost", std::to_string(l.lost), l.reasons);
    out_["added_p99_us_verifier"] = l.added_p99;
    out_["latency_with_verifier"] = to_json(l);
    return true;
  }

  bool calls_of_ten(const House& house) {
    Json both;
    for (const bool flood_in_it : {true, false}) {
      TenantOptions options = o_.tenants;
      options.flood_in_it = flood_in_it;
      options.call_ns = call_ns_;
      const double limit = limit_for(options, kFloodNs);
      House ten = house;
      ten.sessions = house.sessions / (2 * kTenants) * 2 * kTenants;
      ten.tenants.assign(kTenants, tenant_limit(limit));
      auto bed = make_bed(ten);
      if (!bed) return report(bed.error().message) == 0;
      TenantFigures t;
      {
        Player player(*(*bed)->relay);
        run_beside_control(*(*bed)->relay, [&] {
          t = measure_tenants(*(*bed)->relay, *(*bed)->callers, player, options, limit);
        });
      }
      clear_note();
      if (!t.problem.empty()) return report(t.problem) == 0;
      print(t, flood_in_it);
      const Json j = {{"limit_calls_per_second", t.limit_calls_per_s},
                      {"flood_per_second", t.flood_per_s},
                      {"jain_index", t.jain_index},
                      {"least_share", t.least},
                      {"p99_us_calm", t.p99_calm},
                      {"p99_us_flood", t.p99_flood},
                      {"p99_change", t.p99_change},
                      {"busy_calm", t.busy_calm},
                      {"busy_flood", t.busy_flood},
                      {"did_not_fit", t.did_not_fit},
                      {"denials", t.denials},
                      {"hiccups", t.hiccups}};
      both[flood_in_it ? "flood_within_load" : "flood_beyond_load"] = j;
      if (flood_in_it) {
        out_["jain_index"] = t.jain_index;
        out_["p99_change"] = t.p99_change;
      }
    }
    out_["tenants"] = both;
    return true;
  }

  static void print(const TenantFigures& t, bool flood_in_it) {
    fmt::print("\n   ten tenants with {:.0f} calls/s each; one opens {:.0f}/s, {}\n",
               t.limit_calls_per_s, t.flood_per_s,
               flood_in_it ? "which is part of the worker's load" : "on top of the worker's load");
    row("the worker is busy without the flood, with it", fmt::format("{:.0f} %", 100 * t.busy_calm),
        fmt::format("{:.0f} %", 100 * t.busy_flood));
    row("Jain index of the other nine's goodput", fmt::format("{:.4f}", t.jain_index),
        target(t.jain_index >= kTargetJain, fmt::format("{}", kTargetJain)) +
            fmt::format("; the least has {:.1f} % of what is its own", 100 * t.least));
    row("their p99, CALL_OPEN from RX to TX", fmt::format("{:.0f} us", t.p99_calm),
        fmt::format("{:.0f} us in the flood: {:+.0f} % {}", t.p99_flood, 100 * t.p99_change,
                    target(t.p99_change <= kTargetChange, "+10 %")));
    row("frames for which the RX ring had no room", std::to_string(t.did_not_fit),
        fmt::format("{} rounds above 300 us; denied: {}", t.hiccups, t.denials));
  }

  const Options o_;
  double call_ns_ = TenantOptions{}.call_ns;
  Json out_ = {{"added_p99_us_verifier", nullptr}};
};

}  // namespace
}  // namespace sluice::bench

int main(int argc, char** argv) {
  sluice::bench::Options o;
  sluice::bench::CommandLine app{
      "Signed calls through one worker: against the verifier alone, beside data, and of "
      "tenants of which one floods"};
  app.add_option("--agents", o.agents, "an even number").range(160, 1'000'000);
  app.add_option("--core", o.core, "of the worker; control and audit take the other");
  app.add_option("--burst", o.burst, "packets taken from a queue at once").range(1, 64);
  app.add_option("--slices", o.slices, "turns of the rates, whose median counts").range(1u, 99u);
  app.add_option("--seconds", o.seconds, "of each of them").range(0.01, 5.0);
  app.add_option("--parts", o.parts, "rates, latency, tenants")
      .one_of({"rates", "latency", "tenants"});
  app.add_option("--data-rate", o.latency.data_per_s, "data frames a second in `latency`");
  app.add_option("--call-rate", o.latency.calls_per_s, "calls a second beside them");
  app.add_option("--turns", o.latency.turns, "of `latency`, and of `tenants` half as many")
      .range(1u, 99u);
  app.add_option("--turn-seconds", o.latency.seconds, "of each of those").range(0.01, 2.0);
  app.add_option("--state", o.state, "where the audit log's temporary folder is made");
  app.add_option("--json", o.json, "write the figures there");
  if (const auto done = app.parse(argc, argv)) return *done;
  o.agents &= ~1u;
  o.tenants.turns = (o.latency.turns + 1) / 2;
  o.tenants.seconds = std::min(o.tenants.seconds, o.latency.seconds);
  (void)sluice::init_logging("bench", "warn");
  return sluice::bench::Bench(o).run();
}
