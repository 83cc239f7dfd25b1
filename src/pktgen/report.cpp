#include "pktgen/report.h"

#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/file.h"

namespace sluice::pktgen {
namespace {

using nlohmann::json;

struct Row {
  const char* name;
  std::string value;
};

std::string quantiles_text(const Histogram& h) {
  const auto us = [&](double q) { return duration_text(double(h.quantile(q)) / 1000); };
  return h.count() == 0 ? "not measured"
                        : fmt::format("p50 {}, p90 {}, p99 {}, p99.9 {}, max {} ({} packets)",
                                      us(0.5), us(0.9), us(0.99), us(0.999),
                                      duration_text(double(h.max()) / 1000), h.count());
}

const char* seal_name(wire::Seal seal) {
  return seal == wire::Seal::kHeader ? "header" : "full";
}

bool v6_of(const Fleet& fleet) {
  return fleet.options().devices[0].v6;
}

}  // namespace

std::string rate_text(double pps) {
  if (pps >= 1e6) return fmt::format("{:.3f} Mpps", pps / 1e6);
  if (pps >= 1e3) return fmt::format("{:.2f} kpps", pps / 1e3);
  return fmt::format("{:.1f} pps", pps);
}

std::string duration_text(double us) {
  return us < 10'000 ? fmt::format("{:.1f} us", us) : fmt::format("{:.1f} ms", us / 1000);
}

double megabits(const Traffic& t, bool v6, double pps) {
  const double mean =
      std::accumulate(t.payloads.begin(), t.payloads.end(), 0.0) / double(t.payloads.size());
  return pps * (mean + double(overhead(v6))) * 8 / 1e6;
}

std::string progress_line(const Outcome& o, double total) {
  uint64_t sent = 0, received = 0;
  double span = 0;
  const size_t n = std::min<size_t>(10, o.timeline.size());
  for (size_t i = o.timeline.size() - n; i < o.timeline.size(); ++i) {
    sent += o.timeline[i].sent;
    received += o.timeline[i].received;
  }
  if (n != 0) {
    span =
        o.timeline.back().t - (o.timeline.size() > n ? o.timeline[o.timeline.size() - n - 1].t : 0);
  }
  if (span <= 0) return "";
  return fmt::format("{:.0f} of {:.0f} s: sent {}, received {}, behind {}, bad {}, pauses {}",
                     o.seconds, total, rate_text(double(sent) / span),
                     rate_text(double(received) / span), o.lost(), o.bad, o.hiccups);
}

std::string run_table(const Fleet& fleet, const Traffic& t, const Outcome& o) {
  const bool v6 = v6_of(fleet);
  const auto& h = fleet.connector().stats();
  std::vector<Row> rows = {
      {"sessions",
       fmt::format("{} in {:.2f} s, {} cookies, {} HELLOs repeated, {} renewals",
                   fleet.options().population.agents, h.seconds, h.cookies, h.retries, h.rekeys)},
      {"traffic",
       fmt::format("{}, {} seal, {:.2f} s",
                   t.label == "imix" ? "IMIX 7:4:1 of 94, 594, 1518" : t.label + "-byte frames",
                   seal_name(t.seal), o.seconds)},
      {"offered", t.pps == 0 ? "as fast as possible" : rate_text(t.pps)},
      {"sent", fmt::format("{} packets, {}, {:.1f} Mbit/s", o.sent, rate_text(o.sent_pps()),
                           megabits(t, v6, o.sent_pps()))},
      {"received", fmt::format("{} packets, {}, {:.1f} Mbit/s", o.received,
                               rate_text(o.received_pps()), megabits(t, v6, o.received_pps()))},
      {"lost", fmt::format("{} packets ({:.6f} %)", o.lost(),
                           o.sent == 0 ? 0 : 100 * double(o.lost()) / double(o.sent))},
      {"opened", fmt::format("{} packets: {} bad, {} duplicates, {} reordered", o.opened, o.bad,
                             o.duplicates, o.reordered)},
      {"latency", quantiles_text(o.latency)},
      {"late", quantiles_text(o.late)},
      {"pauses", fmt::format("{} above 20 us, {} in all, longest {}", o.hiccups,
                             duration_text(o.hiccup_us), duration_text(o.hiccup_max_us))},
  };
  if (o.blocked != 0) {
    rows.push_back(
        {"blocked", fmt::format("{} packets not sent: the transmit queue was full", o.blocked)});
  }
  if (o.skipped != 0) {
    rows.push_back(
        {"skipped", fmt::format("{} packets not sent: the generator was late", o.skipped)});
  }
  for (const auto& f : o.floods) {
    rows.push_back(
        {"flood", fmt::format("{}: {} packets, {}", name(f.kind), f.sent,
                              rate_text(f.seconds > 0 ? double(f.sent) / f.seconds : 0))});
  }
  if (fleet.captured() != 0) {
    rows.push_back({"capture", fmt::format("{} packets written, {} missed", fleet.captured(),
                                           fleet.capture_missed())});
  }
  std::string out;
  for (const auto& r : rows) out += fmt::format("{:<10} {}\n", r.name, r.value);
  return out;
}

json quantiles_json(const Histogram& h) {
  const auto us = [&](double q) { return double(h.quantile(q)) / 1000; };
  return {{"p50", us(0.5)},
          {"p90", us(0.9)},
          {"p99", us(0.99)},
          {"p999", us(0.999)},
          {"max", double(h.max()) / 1000},
          {"count", h.count()}};
}

json handshakes_json(const ConnectorStats& s) {
  return {{"count", s.sessions},
          {"seconds", s.seconds},
          {"retries", s.retries},
          {"cookies", s.cookies},
          {"rekeys", s.rekeys}};
}

json run_json(const Fleet& fleet, const Traffic& t, const Outcome& o) {
  const bool v6 = v6_of(fleet);
  json floods = json::array(), timeline = json::array();
  for (const auto& f : o.floods) {
    floods.push_back({{"kind", name(f.kind)},
                      {"sent", f.sent},
                      {"pps", f.seconds > 0 ? double(f.sent) / f.seconds : 0}});
  }
  for (const auto& p : o.timeline) {
    timeline.push_back(
        {{"t", p.t}, {"sent", p.sent}, {"received", p.received}, {"blocked", p.blocked}});
  }
  const bool mixed = t.payloads.size() > 1;
  return {
      {"mode", "run"},
      {"sessions", fleet.options().population.agents},
      {"frame", mixed ? json("imix") : json(t.payloads[0] + overhead(v6))},
      {"payload", mixed ? json(nullptr) : json(t.payloads[0])},
      {"seal", seal_name(t.seal)},
      {"seconds", o.seconds},
      {"offered_pps", t.pps},
      {"sent_pps", o.sent_pps()},
      {"received_pps", o.received_pps()},
      {"mbps", megabits(t, v6, o.received_pps())},
      {"sent", o.sent},
      {"received", o.received},
      {"lost", o.lost()},
      {"loss", o.sent == 0 ? 0 : double(o.lost()) / double(o.sent)},
      {"reordered", o.reordered},
      {"duplicates", o.duplicates},
      {"bad", o.bad},
      {"opened", o.opened},
      {"untimed", o.untimed},
      {"blocked", o.blocked},
      {"skipped", o.skipped},
      {"probes", o.probes},
      {"unknown", o.unknown},
      {"interrupted", o.interrupted},
      {"latency_us", quantiles_json(o.latency)},
      {"late_us", quantiles_json(o.late)},
      {"hiccups", {{"count", o.hiccups}, {"total_us", o.hiccup_us}, {"max_us", o.hiccup_max_us}}},
      {"floods", floods},
      {"timeline", timeline},
      {"handshakes", handshakes_json(fleet.connector().stats())}};
}

Result<void> write_json(const std::string& path, const json& j) {
  return write_file(path, as_bytes(j.dump(1) + "\n"), 0644);
}

}  // namespace sluice::pktgen
