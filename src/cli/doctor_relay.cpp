// The relay that runs, as it tells of itself.
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "cli/doctor.h"
#include "cli/table.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr std::chrono::seconds kBetweenLooks{1};
constexpr double kBusy = 0.8;
// A worker with so many times its share of packets works for the others.
constexpr double kUneven = 2.0;
constexpr uint64_t kTooFewPackets = 10'000;
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kOldDays = 365;
constexpr double kNearlyFull = 0.9;

int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void look_at_crypto(const json& status, Findings& out) {
  const std::string aead = text(status["aead"]["path"]);
  const std::string batch = text(status["public_key_batches"]["path"]);
  out.push_back({"crypto", Grade::kOk,
                 fmt::format("AES-GCM by {} ({}), signatures by {}",
                             text(status["aead"]["library"]), aead, batch),
                 ""});
  const json& keys = status["public_key_batches"];
  if (keys["evicted"].get<uint64_t>() > keys["prepared_keys_room"].get<uint64_t>()) {
    out.push_back({"crypto", Grade::kWarning,
                   fmt::format("{} prepared keys gave way to others", count(keys["evicted"])),
                   "raise limits.prepared_keys_mb: a signature of an unprepared identity takes 1.6 "
                   "times as long to verify"});
  }
}

void look_at_ports(const json& status, Findings& out) {
  for (const json& p : status["ports"]) {
    const std::string name = text(p["name"]);
    const bool up = p["link_up"].get<bool>();
    const uint64_t missed = p["rx_missed"].get<uint64_t>();
    const uint64_t no_buffer = p["rx_no_buffer"].get<uint64_t>();
    const uint64_t errors = p["tx_errors"].get<uint64_t>();
    out.push_back(
        {"link", up ? Grade::kOk : Grade::kFailed,
         up ? fmt::format(
                  "{} is up{}", name,
                  p["link_mbps"] == 0 ? "" : fmt::format(", {} Mbit/s", text(p["link_mbps"])))
            : name + " is down",
         up ? "" : "cable, transceiver, or the switch's port"});
    if (missed != 0) {
      out.push_back({"missed", Grade::kWarning,
                     fmt::format("{}: {} packets found no free descriptor", name, grouped(missed)),
                     "workers do not come back in time: more of them, isolated cores, or more "
                     "rx_descriptors"});
    }
    if (no_buffer != 0) {
      out.push_back({"buffers", Grade::kWarning,
                     fmt::format("{}: {} packets found no buffer", name, grouped(no_buffer)),
                     "raise limits.packet_buffers"});
    }
    if (errors != 0) {
      out.push_back({"tx", Grade::kWarning,
                     fmt::format("{}: {} packets could not be sent", name, grouped(errors)), ""});
    }
  }
}

// Whether the NIC spreads agents over the queues.
void look_at_spread(const Client& client, const json& status, Findings& out) {
  const auto counters = ask(client, "/v1/counters", "rss", out);
  if (!counters) return;
  uint64_t all = 0, most = 0;
  size_t busiest = 0, w = 0;
  for (const json& worker : (*counters)["workers"]) {
    const uint64_t n = worker.value("rx_packets", uint64_t{0});
    all += n;
    if (n > most) most = n, busiest = w;
    ++w;
  }
  const size_t workers = status["workers"].size();
  if (workers < 2) {
    out.push_back({"rss", Grade::kOk, "one worker takes everything", ""});
    return;
  }
  if (all < kTooFewPackets) {
    out.push_back({"rss", Grade::kOk,
                   fmt::format("{} packets are too few to tell whether they spread", grouped(all)),
                   ""});
    return;
  }
  const double share = double(most) / double(all);
  const bool even = share * double(workers) <= kUneven;
  out.push_back(
      {"rss", even ? Grade::kOk : Grade::kWarning,
       fmt::format("worker {} received {:.0f} % of {} packets, even would be {:.0f} %", busiest,
                   100 * share, grouped(all), 100.0 / double(workers)),
       even
           ? ""
           : "the NIC hashes addresses and ports: few agents, or a tunnel or NAT in front of them, "
             "are few flows; with many, see whether the driver's RSS takes UDP ports"});
}

void look_at_load(const Client& client, const json& before, Findings& out) {
  std::this_thread::sleep_for(kBetweenLooks);
  const auto after = ask(client, "/v1/status", "load", out);
  if (!after) return;
  const double elapsed =
      1e6 * ((*after)["uptime_s"].get<double>() - before["uptime_s"].get<double>());
  if (elapsed <= 0 || (*after)["workers"].size() != before["workers"].size()) {
    out.push_back({"load", Grade::kWarning, "the relay started anew meanwhile", ""});
    return;
  }
  double most = 0;
  size_t busiest = 0;
  for (size_t w = 0; w < before["workers"].size(); ++w) {
    const double busy = (*after)["workers"][w]["busy_us"].get<double>() -
                        before["workers"][w]["busy_us"].get<double>();
    if (busy / elapsed >= most) most = busy / elapsed, busiest = w;
  }
  out.push_back({"load", most < kBusy ? Grade::kOk : Grade::kWarning,
                 fmt::format("worker {} is the busiest: {:.0f} % of the last second", busiest,
                             100 * std::min(most, 1.0)),
                 most < kBusy ? "" : "add a worker: sluicectl tune proposes a map"});
  if ((*after)["under_load"].get<bool>()) {
    out.push_back({"load", Grade::kWarning, "HELLOs come faster than handshake.under_load_per_s",
                   "sources must return a cookie first, which is what should happen in a flood"});
  }
}

void look_at_room(const json& status, Findings& out) {
  const json& s = status["sessions"];
  const double taken = s["confirmed"].get<double>() + s["unconfirmed"].get<double>();
  const double all = taken + s["free"].get<double>();
  const bool room = taken < kNearlyFull * all;
  out.push_back({"sessions", room ? Grade::kOk : Grade::kWarning,
                 fmt::format("{:.0f} of {:.0f}", taken, all),
                 room ? "" : "raise limits.sessions: a rekey takes a second one for a moment"});
}

void look_at_audit(const Client& client, Findings& out) {
  const auto audit = ask(client, "/v1/audit", "audit", out);
  if (!audit) return;
  const json& a = *audit;
  const std::string room = fmt::format("{}, {} free: {}", text(a["folder"]), bytes(a["free_bytes"]),
                                       text(a["forecast"]));
  if (!a["available"].get<bool>()) {
    out.push_back({"audit", Grade::kFailed, "cannot be written: " + text(a["problem"]),
                   "mend the disk or the folder; until then new calls are " +
                       std::string(a["when_unavailable"] == "deny" ? "denied" : "only counted")});
  } else if (!a["alert"].is_null()) {
    out.push_back({"audit", Grade::kWarning, text(a["alert"]),
                   "a larger disk, or audit.keep_for or keep_bytes"});
  } else {
    out.push_back({"audit", Grade::kOk, room, ""});
  }
  if (a["lost"].get<uint64_t>() != 0) {
    out.push_back({"audit", Grade::kWarning,
                   fmt::format("{} records were lost since the start", count(a["lost"])),
                   "the log names each gap: sluicectl audit export"});
  }
}

void look_at_vault(const Client& client, Findings& out) {
  const auto vault = ask(client, "/v1/vault", "vault", out);
  if (!vault) return;
  const json& v = *vault;
  const std::string state = text(v["state"]);
  if (v["damaged"] != 0) {
    out.push_back({"vault", Grade::kFailed,
                   fmt::format("{} records cannot be read", count(v["damaged"])),
                   "sluicectl credential list names them; set them anew"});
  }
  if (state == "uninitialised") {
    out.push_back({"vault", Grade::kOk, "not in use", ""});
    return;
  }
  if (state == "locked") {
    const bool used = v["bindings"] != 0;
    out.push_back({"vault", used ? Grade::kFailed : Grade::kWarning,
                   fmt::format("locked{}", v["why"].is_null() ? "" : ": " + text(v["why"])),
                   "sluicectl vault unlock; calls that need a credential are denied until then"});
    return;
  }
  out.push_back({"vault", Grade::kOk,
                 fmt::format("open, {} credentials, {} bindings", count(v["credentials"]),
                             count(v["bindings"])),
                 ""});
  if (v["aging"] != 0) {
    out.push_back(
        {"vault", Grade::kWarning,
         fmt::format("{} credentials are near or past their maximum age", count(v["aging"])),
         "sluicectl credential list; set them anew"});
  }
  const int64_t days = (now_ms() - v["master"]["made_at_ms"].get<int64_t>()) / kDayMs;
  if (days > kOldDays) {
    out.push_back({"vault", Grade::kWarning, fmt::format("its master key is {} days old", days),
                   "sluicectl vault rotate --master"});
  }
}

}  // namespace

void examine_relay(const Client& client, const json& status, Findings& out) {
  look_at_crypto(status, out);
  look_at_ports(status, out);
  look_at_spread(client, status, out);
  look_at_load(client, status, out);
  look_at_room(status, out);
  look_at_audit(client, out);
  look_at_vault(client, out);
}

}  // namespace sluice::cli
