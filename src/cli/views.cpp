#include "cli/views.h"

#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/table.h"

namespace sluice::cli {

using nlohmann::json;

namespace {

std::string age(uint64_t ms) {
  return with_unit_us(double(ms) * 1000);
}

uint64_t now_ms() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

}  // namespace

std::string remaining(const json& at_ms) {
  const uint64_t now = now_ms(), at = at_ms.get<uint64_t>();
  return at > now ? age(at - now) : "over";
}

std::string text(const json& j) {
  return j.is_string() ? j.get<std::string>() : j.dump();
}
std::string count(const json& j) {
  return grouped(j.get<uint64_t>());
}
std::string micros(const json& j) {
  return with_unit_us(j.get<double>());
}
std::string bytes(const json& j) {
  return with_unit_bytes(j.get<double>());
}

void print_status(const json& s) {
  fmt::print("sluiced {} up {}, epoch {}, UDP port {}, {} ({})\n", text(s["version"]),
             with_unit_us(s["uptime_s"].get<double>() * 1e6), text(s["epoch"]), text(s["udp_port"]),
             text(s["aead"]["library"]), text(s["aead"]["path"]));
  fmt::print(
      "agents: {} active, {} revoked; edges: {}; sessions: {} confirmed, {} unconfirmed{}\n\n",
      text(s["agents"]["active"]), text(s["agents"]["revoked"]), text(s["edges"]),
      text(s["sessions"]["confirmed"]), text(s["sessions"]["unconfirmed"]),
      s["under_load"].get<bool>() ? "; UNDER LOAD: cookies are asked for" : "");
  std::vector<std::vector<std::string>> rows;
  for (const auto& w : s["workers"]) {
    std::string queues;
    for (const auto& q : w["queues"]) queues += (queues.empty() ? "" : " ") + text(q);
    rows.push_back({text(w["worker"]), text(w["core"]), queues, count(w["polls"]),
                    micros(w["busy_us"]), micros(w["longest_poll_us"])});
  }
  fmt::print("{}\n", format_table({{"WORKER", true},
                                   {"CORE", true},
                                   {"QUEUES"},
                                   {"POLLS", true},
                                   {"BUSY", true},
                                   {"LONGEST POLL", true}},
                                  rows));
  rows.clear();
  for (const auto& p : s["ports"]) {
    rows.push_back({text(p["name"]), text(p["device"]), text(p["mac"]), text(p["mtu"]),
                    p["link_up"].get<bool>() ? "up" : "down", count(p["rx_missed"]),
                    count(p["rx_no_buffer"])});
  }
  fmt::print("{}", format_table({{"PORT"},
                                 {"DEVICE"},
                                 {"MAC"},
                                 {"MTU", true},
                                 {"LINK"},
                                 {"RX MISSED", true},
                                 {"NO BUFFER", true}},
                                rows));
}

void print_agents(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& a : body["agents"]) {
    const auto& s = a["session"];
    rows.push_back({text(a["name"]), text(a["address"]), text(a["state"]),
                    s.is_null() ? "-" : text(s["endpoint"]), count(a["packets"]), text(a["did"])});
  }
  fmt::print(
      "{}",
      format_table({{"NAME"}, {"ADDRESS"}, {"STATE"}, {"ENDPOINT"}, {"PACKETS IN", true}, {"DID"}},
                   rows));
}

// What stands in the way of calls, or will soon.
static std::string state_of_edge(const json& e) {
  if (e["open"] == false) return "outside its window";
  const json& c = e["calls"];
  if (c["circuit"] != "closed") return "circuit " + text(c["circuit"]);
  std::string out;
  for (const auto& q : c["quotas"]) {
    out +=
        fmt::format("{}{} of {} used", out.empty() ? "" : ", ", text(q["used"]), text(q["calls"]));
  }
  return out;
}

void print_edges(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& e : body["edges"]) {
    rows.push_back({text(e["from"]), text(e["to"]), text(e["right"]), text(e["seal"]),
                    text(e["source"]), count(e["packets"]), bytes(e["bytes"]), state_of_edge(e)});
  }
  fmt::print("{}", format_table({{"FROM"},
                                 {"TO"},
                                 {"RIGHT"},
                                 {"SEAL"},
                                 {"SOURCE"},
                                 {"PACKETS", true},
                                 {"BYTES", true},
                                 {"CALLS"}},
                                rows));
}

void print_counters(const json& c, bool all) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& [name, value] : c["totals"].items()) rows.push_back({name, count(value)});
  fmt::print("{}\n", format_table({{"COUNTER"}, {"TOTAL", true}}, rows));
  rows.clear();
  for (const auto& d : c["drops"]) {
    if (!all && d["count"].get<uint64_t>() == 0) continue;
    rows.push_back({text(d["reason"]), count(d["count"]), text(d["severity"]), text(d["text"])});
  }
  fmt::print("{}\n", format_table({{"DROPPED"}, {"PACKETS", true}, {"SEVERITY"}, {"WHY"}}, rows));
  for (const auto& [key, head] : {std::pair{"calls", "CALLS"}, {"handshakes", "HANDSHAKES"}}) {
    rows.clear();
    for (const auto& [name, value] : c[key].items()) {
      if (all || value.get<uint64_t>() != 0) rows.push_back({name, count(value)});
    }
    if (!rows.empty()) fmt::print("{}\n", format_table({{head}, {"COUNT", true}}, rows));
  }
}

void print_revocation(const json& r) {
  if (r["agents"] == 1) {
    fmt::print("{} ({})\n", text(r["name"]), text(r["did"]));
  } else {
    fmt::print("{} agents and {} pairs\n", text(r["agents"]), text(r["pairs"]));
  }
  const auto row = [&](const char* what, const char* key) {
    return std::vector<std::string>{what, micros(r[key])};
  };
  fmt::print(
      "{}",
      format_table({{"STEP"}, {"SINCE THE START", true}},
                   {row("1 refused by the next load (atomic store)", "store_us"),
                    row("2 durable (commit and sync)", "durable_us"),
                    row("3 cut: every worker passed a quiescent point", "cut_us"),
                    row("  drained at the latest (full TX ring at link speed)", "drained_us"),
                    row("4 keys wiped, peers notified", "wipe_us"), row("answered", "ack_us")}));
  fmt::print(
      "the sync itself took {}; {} edges closed, {} peers notified, and {} of the revoked "
      "themselves\n",
      micros(r["sync_us"]), text(r["edges_closed"]), text(r["peers_notified"]),
      text(r["notified"]));
}

void print_tenants(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& t : body["tenants"]) {
    rows.push_back({text(t["id"]), text(t["name"]), count(t["agents"])});
  }
  fmt::print("{}", format_table({{"ID", true}, {"NAME"}, {"AGENTS", true}}, rows));
}

void print_tokens(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& t : body["tokens"]) {
    const std::string name = text(t["tenant_name"]);
    rows.push_back({text(t["id"]), name.empty() ? text(t["tenant"]) : name,
                    fmt::format("{} of {}", text(t["used"]), text(t["uses"])),
                    remaining(t["expires_at_ms"])});
  }
  fmt::print("{}", format_table({{"ID"}, {"TENANT"}, {"USED"}, {"VALID FOR"}}, rows));
}

void print_requests(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& r : body["requests"]) {
    rows.push_back({text(r["from"]), r["to"].is_null() ? text(r["to_did"]) : text(r["to"]),
                    text(r["request"]).substr(0, 12), text(r["waits_for"]),
                    remaining(r["expires_at_ms"]), text(r["justification"])});
  }
  fmt::print(
      "{}",
      format_table({{"FROM"}, {"TO"}, {"REQUEST"}, {"WAITS FOR"}, {"FOR ANOTHER", true}, {"WHY"}},
                   rows));
}

void print_changes(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& c : body["changes"]) {
    const uint64_t at = c["at_ms"].get<uint64_t>(), now = now_ms();
    rows.push_back({text(c["sequence"]), age(now > at ? now - at : 0), text(c["actor"]),
                    text(c["kind"]), text(c["subject"]),
                    c["object"].is_null() ? "" : text(c["object"])});
  }
  fmt::print("{}",
             format_table({{"NUMBER", true}, {"AGO", true}, {"BY"}, {"WHAT"}, {"OF"}, {""}}, rows));
}

void print_approvals(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& a : body["approvals"]) {
    std::string scopes;
    for (const auto& s : a["scopes"]) scopes += (scopes.empty() ? "" : " ") + text(s);
    rows.push_back({text(a["id"]), text(a["from"]), text(a["to"]), text(a["capability"]),
                    text(a["protocol"]), scopes, remaining(a["until_ms"]), text(a["trace"])});
  }
  fmt::print("{}", format_table({{"ID"},
                                 {"FROM"},
                                 {"TO"},
                                 {"CAPABILITY"},
                                 {"PROTOCOL"},
                                 {"SCOPES"},
                                 {"FOR ANOTHER", true},
                                 {"TRACE"}},
                                rows));
}

void print_policy(const json& body) {
  if (body["number"] == 0) {
    fmt::print("no policy is in force: whoever is enrolled may ask whom of its tenant it knows\n");
    return;
  }
  fmt::print("policy {}, default {}\n", text(body["number"]), text(body["default"]));
  for (const auto& rule : body["rules"]) fmt::print("  {}\n", text(rule));
}

void print_policy_change(const json& body) {
  for (const auto& line : body["removed"]) fmt::print("- {}\n", text(line));
  for (const auto& line : body["added"]) fmt::print("+ {}\n", text(line));
  fmt::print("{} pairs {} suspended, {} resumed, {} put on other terms, {} ended\n",
             text(body["pairs_suspended"]), body["applied"] == true ? "were" : "would be",
             text(body["pairs_resumed"]), text(body["pairs_changed"]), text(body["pairs_ended"]));
  if (body["applied"] == true) {
    fmt::print("policy {} is in force; every worker had seen it after {}\n", text(body["number"]),
               micros(body["cut_us"]));
  }
}

}  // namespace sluice::cli
