#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "pktgen/commands.h"
#include "pktgen/console.h"
#include "pktgen/measure.h"
#include "pktgen/report.h"

// RFC 2544, section 26.1: throughput is the highest rate at which nothing is lost. Found by
// bisection; the result was seen to hold once more after the search.
namespace sluice::pktgen {
namespace {

using nlohmann::json;

constexpr double kOfferedWithin = 0.01;
constexpr unsigned kMostTrials = 60;

struct Trial {
  double pps = 0;  // offered
  double sent_pps = 0;
  uint64_t lost = 0;  // in the relay, and for want of room towards it
  bool ok = false;
  bool limited = false;  // the generator could not offer this rate
};

class Search {
 public:
  Search(const Options& options, Fleet& fleet, const Traffic& traffic, Console& console)
      : raw_(options.raw), fleet_(fleet), traffic_(traffic), console_(console) {}

  json run();

 private:
  Outcome measure_at(double pps, uint32_t probe, const std::string& name);
  Trial judge(const Outcome& outcome, double pps) const;
  Trial try_rate(double pps);
  double bisect();
  json latency_at(double share, double best);

  const RawOptions& raw_;
  Fleet& fleet_;
  const Traffic& traffic_;
  Console& console_;
  std::vector<Trial> trials_;
  bool limited_ = false;
};

Outcome Search::measure_at(double pps, uint32_t probe, const std::string& name) {
  Traffic t = traffic_;
  t.pps = pps;
  t.probe_every = probe;
  const std::string marker = fmt::format("{}-{}", t.label, name);
  say_marker(raw_.markers, "begin", marker);
  Outcome out = measure(fleet_, t, raw_.trial_seconds, [](const Outcome&) {});
  say_marker(raw_.markers, "end", marker);
  return out;
}

Trial Search::judge(const Outcome& o, double pps) const {
  Trial t{pps, o.sent_pps(), o.lost(), false, false};
  // A virtual device has no line that could be full: its peer did not take what was due. On a NIC
  // the queue is full because the line is.
  if (fleet_.is_virtual()) t.lost += o.blocked;
  const uint64_t missed = o.skipped + (fleet_.is_virtual() ? 0 : o.blocked);
  t.limited = pps > 0 && double(missed) > kOfferedWithin * pps * o.seconds;
  const double allowed = raw_.loss_tolerance / 100 * double(o.sent + o.blocked);
  t.ok = double(t.lost) <= allowed && o.bad == 0 && o.sent > 0;
  return t;
}

Trial Search::try_rate(double pps) {
  const Trial t = judge(measure_at(pps, 0, fmt::format("trial{}", trials_.size() + 1)), pps);
  trials_.push_back(t);
  console_.progress(fmt::format("{} at {}: {}{}", traffic_.label, rate_text(pps),
                                t.ok ? "nothing lost" : fmt::format("{} lost", t.lost),
                                t.limited ? ", generator-limited" : ""));
  return t;
}

// The highest rate that passed; 0: none did.
double Search::bisect() {
  double high = raw_.max_rate;
  if (high == 0) {
    // What can be sent at all bounds the search from above.
    const Outcome flat_out = measure_at(0, 0, "max");
    trials_.push_back(judge(flat_out, 0));
    trials_.back().pps = flat_out.sent_pps();
    high = flat_out.sent_pps();
  }
  const double resolution = raw_.resolution / 100;
  double low = 0, next = high;
  while (!interrupted() && trials_.size() < kMostTrials && high > 1) {
    const Trial t = try_rate(next);
    if (t.ok && !t.limited) {
      low = next;
    } else {
      high = next;
      limited_ = t.limited && t.ok;
    }
    if (low >= high || (low > 0 && high - low <= resolution * high)) break;
    next = low > 0 ? (low + high) / 2 : high / 2;
  }
  return low;
}

json Search::latency_at(double share, double best) {
  const Outcome o =
      measure_at(best * share, kDefaultProbe, fmt::format("latency{:.0f}", share * 100));
  json out = quantiles_json(o.latency);
  out["pps"] = best * share;
  out["lost"] = o.lost();
  out["hiccups"] = o.hiccups;
  out["hiccup_total_us"] = o.hiccup_us;
  out["hiccup_max_us"] = o.hiccup_max_us;
  out["late_us"] = quantiles_json(o.late);
  return out;
}

json Search::run() {
  double best = bisect();
  // A rate that does not hold a second time was luck: go down until one does.
  bool confirmed = false;
  double step = raw_.resolution / 100;
  while (!interrupted() && best > 0 && !confirmed && trials_.size() < kMostTrials) {
    const Trial t = try_rate(best);
    confirmed = t.ok && !t.limited;
    if (!confirmed) best *= 1 - step;
    step = std::min(2 * step, 0.2);
  }
  if (!confirmed) best = 0;
  console_.finish_progress();

  const bool v6 = fleet_.options().devices[0].v6;
  const bool mixed = traffic_.payloads.size() > 1;
  json trials = json::array();
  for (const auto& t : trials_) {
    trials.push_back({{"pps", t.pps},
                      {"sent_pps", t.sent_pps},
                      {"lost", t.lost},
                      {"ok", t.ok},
                      {"limited", t.limited}});
  }
  json out = {{"frame", mixed ? json("imix") : json(traffic_.payloads[0] + overhead(v6))},
              {"payload", mixed ? json(nullptr) : json(traffic_.payloads[0])},
              {"zero_loss_pps", best},
              {"mbps", megabits(traffic_, v6, best)},
              {"limited", limited_},
              {"trials", trials}};
  std::string text;
  if (raw_.latency && best > 0 && !interrupted()) {
    out["latency"] = {{"50", latency_at(0.5, best)}, {"80", latency_at(0.8, best)}};
    text = fmt::format(
        "   p50/p99 {:.1f}/{:.1f} us at 50 %, {:.1f}/{:.1f} us at 80 %",
        out["latency"]["50"]["p50"].get<double>(), out["latency"]["50"]["p99"].get<double>(),
        out["latency"]["80"]["p50"].get<double>(), out["latency"]["80"]["p99"].get<double>());
  }
  fmt::print("{:>6}  {:>12}  {:>9.1f} Mbit/s{}{}\n", traffic_.label, rate_text(best),
             megabits(traffic_, v6, best), limited_ ? "   generator-limited" : "", text);
  std::fflush(stdout);
  return out;
}

}  // namespace

Result<void> search_throughput(const Options& options) {
  auto started = Fleet::start(options.fleet);
  if (!started) return tl::unexpected(started.error());
  Fleet& fleet = **started;
  Console console(fleet.clock());
  auto connected = fleet.connect([&](const Connector& connector) {
    console.connecting(connector, options.fleet.population.agents);
  });
  console.finish_progress();
  if (!connected) return connected;
  say_ready(fleet, options.raw.wait);

  fmt::print("{:>6}  {:>12}  {:>9}\n", "frame", "zero loss", "frames");
  json results = json::array();
  for (const Traffic& t : options.traffic) {
    if (interrupted()) break;
    results.push_back(Search(options, fleet, t, console).run());
  }
  if (!options.raw.json.empty()) {
    const json all = {{"mode", "search"},
                      {"sessions", options.fleet.population.agents},
                      {"seal", options.raw.seal},
                      {"trial_seconds", options.raw.trial_seconds},
                      {"resolution", options.raw.resolution},
                      {"loss_tolerance", options.raw.loss_tolerance},
                      {"interrupted", interrupted()},
                      {"results", results},
                      {"handshakes", handshakes_json(fleet.connector().stats())}};
    if (auto r = write_json(options.raw.json, all); !r) return r;
  }
  say_done(fleet, options.raw.hold);
  return {};
}

}  // namespace sluice::pktgen
