#include "cli/top.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <thread>

#include <fmt/format.h>

#include "cli/table.h"
#include "cli/views.h"

namespace sluice::cli {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Look {
  Clock::time_point at;
  json status, counters, agents;
};

Result<Look> look(const Client& client) {
  Look out{Clock::now(), {}, {}, {}};
  for (const auto& [path, target] :
       {std::pair{"/v1/status", &out.status}, std::pair{"/v1/counters", &out.counters},
        std::pair{"/v1/agents", &out.agents}}) {
    auto body = client.call("GET", path);
    if (!body) return tl::unexpected(body.error());
    *target = std::move(*body);
  }
  return out;
}

// Whole numbers: a relay that restarted in between counts from zero.
double per_second(const json& now, const json& before, double seconds) {
  const auto a = now.get<uint64_t>(), b = before.get<uint64_t>();
  return a < b ? 0 : double(a - b) / seconds;
}

json workers_of(const Look& now, const Look& before, double seconds) {
  json out = json::array();
  const auto& counts = now.counters["workers"];
  for (size_t w = 0; w < counts.size() && w < before.counters["workers"].size(); ++w) {
    const auto& was = before.counters["workers"][w];
    const auto& status = now.status["workers"][w];
    const double busy =
        status["busy_us"].get<double>() - before.status["workers"][w]["busy_us"].get<double>();
    out.push_back({{"worker", w},
                   {"core", status["core"]},
                   {"rx_pps", per_second(counts[w]["rx_packets"], was["rx_packets"], seconds)},
                   {"tx_pps", per_second(counts[w]["tx_packets"], was["tx_packets"], seconds)},
                   {"busy", std::clamp(busy / (seconds * 1e6), 0.0, 1.0)},
                   {"longest_poll_us", status["longest_poll_us"]}});
  }
  return out;
}

json most(std::vector<json> list, const char* key, unsigned rows) {
  std::stable_sort(list.begin(), list.end(), [key](const json& a, const json& b) {
    return a[key].get<double>() > b[key].get<double>();
  });
  if (list.size() > rows) list.resize(rows);
  return list;
}

json drops_of(const Look& now, const Look& before, double seconds, unsigned rows) {
  std::vector<json> out;
  for (size_t i = 0; i < now.counters["drops"].size(); ++i) {
    const auto& d = now.counters["drops"][i];
    const double rate = per_second(d["count"], before.counters["drops"][i]["count"], seconds);
    if (rate > 0) out.push_back({{"reason", d["reason"]}, {"pps", rate}, {"total", d["count"]}});
  }
  return most(std::move(out), "pps", rows);
}

json agents_of(const Look& now, const Look& before, double seconds, unsigned rows) {
  std::map<std::string, const json*> was;
  for (const auto& a : before.agents["agents"]) was[a["did"].get<std::string>()] = &a;
  std::vector<json> out;
  for (const auto& a : now.agents["agents"]) {
    const auto it = was.find(a["did"].get<std::string>());
    if (it == was.end()) continue;
    const double rate = per_second(a["packets"], (*it->second)["packets"], seconds);
    if (rate == 0) continue;
    out.push_back({{"name", a["name"]},
                   {"tenant", a["tenant"]},
                   {"pps", rate},
                   {"bytes_per_s", per_second(a["bytes"], (*it->second)["bytes"], seconds)}});
  }
  return most(std::move(out), "pps", rows);
}

std::string rate(const json& j) {
  return grouped(static_cast<uint64_t>(j.get<double>() + 0.5));
}

void print(const json& s) {
  fmt::print("{} agents, {} sessions, {} edges; forwarded {} packets/s, dropped {} packets/s\n\n",
             text(s["agents"]), text(s["sessions"]), text(s["edges"]), rate(s["forwarded_pps"]),
             rate(s["dropped_pps"]));
  std::vector<std::vector<std::string>> rows;
  for (const auto& w : s["workers"]) {
    rows.push_back({text(w["worker"]), text(w["core"]), rate(w["rx_pps"]), rate(w["tx_pps"]),
                    fmt::format("{:.0f} %", 100 * w["busy"].get<double>()),
                    micros(w["longest_poll_us"])});
  }
  fmt::print("{}\n", format_table({{"WORKER", true},
                                   {"CORE", true},
                                   {"RX/S", true},
                                   {"TX/S", true},
                                   {"BUSY", true},
                                   {"LONGEST POLL", true}},
                                  rows));
  rows.clear();
  for (const auto& d : s["drops"]) {
    rows.push_back({text(d["reason"]), rate(d["pps"]), count(d["total"])});
  }
  fmt::print("{}\n", format_table({{"DROPPED"}, {"PACKETS/S", true}, {"TOTAL", true}}, rows));
  rows.clear();
  for (const auto& a : s["busiest"]) {
    rows.push_back({text(a["name"]), text(a["tenant"]), rate(a["pps"]),
                    with_unit_bytes(a["bytes_per_s"].get<double>())});
  }
  fmt::print(
      "{}",
      format_table({{"BUSIEST AGENT"}, {"TENANT", true}, {"PACKETS/S", true}, {"BYTES/S", true}},
                   rows));
}

}  // namespace

int run_top(const Client& client, const TopOptions& options) {
  auto before = look(client);
  if (!before) return client.report(before.error());
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  for (unsigned i = 0; options.count == 0 || i < options.count; ++i) {
    std::this_thread::sleep_until(before->at + std::chrono::duration<double>(options.interval_s));
    auto now = look(client);
    if (!now) return client.report(now.error());
    if (now->status["epoch"] != before->status["epoch"]) {  // another life: nothing to compare
      before = std::move(now);
      continue;
    }
    const double seconds = std::chrono::duration<double>(now->at - before->at).count();
    const auto total = [&](const char* name) {
      return per_second(now->counters["totals"][name], before->counters["totals"][name], seconds);
    };
    const json shown = {{"interval_s", seconds},
                        {"agents", now->status["agents"]["active"]},
                        {"sessions", now->status["sessions"]["confirmed"]},
                        {"edges", now->status["edges"]},
                        {"forwarded_pps", total("forwarded")},
                        {"dropped_pps", total("drops")},
                        {"workers", workers_of(*now, *before, seconds)},
                        {"drops", drops_of(*now, *before, seconds, options.rows)},
                        {"busiest", agents_of(*now, *before, seconds, options.rows)}};
    if (client.as_json) {
      fmt::print("{}\n", shown.dump());
    } else {
      // From the top of an empty screen; programs and files get one block after the other.
      fmt::print("{}", terminal ? "\033[H\033[J" : i == 0 ? "" : "\n");
      print(shown);
    }
    std::fflush(stdout);
    before = std::move(now);
  }
  return 0;
}

}  // namespace sluice::cli
