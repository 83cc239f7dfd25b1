// sluicectl: the operator's command line over the relay's admin socket.
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/table.h"
#include "http/unix_client.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

struct Options {
  std::string socket = "/run/sluice/admin.sock";
  bool as_json = false;
  bool all = false;
  std::string agent;
  std::string reason;
};

int report(const Error& e, bool as_json) {
  if (as_json) {
    fmt::print("{}\n",
               json{{"error", {{"code", info(e.code).name}, {"message", e.message}}}}.dump());
  }
  fmt::print(stderr, "sluicectl: {}\n", e.message);
  return info(e.code).exit_code;
}

Result<json> call(const Options& o, const char* method, const std::string& target,
                  const std::string& body = "") {
  http::UnixClient client(o.socket, "sluiced");
  auto response = client.request(method, target, body, std::chrono::seconds(30));
  if (!response) return tl::unexpected(response.error());
  json parsed = json::parse(response->body, nullptr, false);
  // An answer with an error may still carry what was reached; the caller prints both.
  if (response->status >= 400 && !parsed.contains("ack_us")) {
    return tl::unexpected(http::error_from(*response));
  }
  if (parsed.is_discarded()) return fail(ErrorCode::kInternal, "sluiced did not answer with JSON");
  return parsed;
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

void print_edges(const json& body) {
  std::vector<std::vector<std::string>> rows;
  for (const auto& e : body["edges"]) {
    rows.push_back({text(e["from"]), text(e["to"]), text(e["right"]), text(e["seal"]),
                    text(e["source"]), count(e["packets"]), bytes(e["bytes"])});
  }
  fmt::print(
      "{}",
      format_table(
          {{"FROM"}, {"TO"}, {"RIGHT"}, {"SEAL"}, {"SOURCE"}, {"PACKETS", true}, {"BYTES", true}},
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
  rows.clear();
  for (const auto& [name, value] : c["handshakes"].items()) {
    if (all || value.get<uint64_t>() != 0) rows.push_back({name, count(value)});
  }
  fmt::print("{}", format_table({{"HANDSHAKES"}, {"COUNT", true}}, rows));
}

void print_revocation(const json& r) {
  fmt::print("{} ({})\n", text(r["name"]), text(r["did"]));
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
  fmt::print("the sync itself took {}; {} edges closed, {} peers notified\n", micros(r["sync_us"]),
             text(r["edges_closed"]), text(r["peers_notified"]));
}

int show(const Options& o, const std::string& target, void (*print)(const json&)) {
  const auto body = call(o, "GET", target);
  if (!body) return report(body.error(), o.as_json);
  if (o.as_json) {
    fmt::print("{}\n", body->dump());
  } else {
    print(*body);
  }
  return 0;
}

int revoke(const Options& o) {
  json request = {{"agent", o.agent}};
  if (!o.reason.empty()) request["reason"] = o.reason;
  const auto body = call(o, "POST", "/v1/revoke", request.dump());
  if (!body) return report(body.error(), o.as_json);
  if (o.as_json) {
    fmt::print("{}\n", body->dump());
  } else {
    print_revocation(*body);
  }
  if (!body->contains("error")) return 0;
  fmt::print(stderr, "sluicectl: {}\n", text((*body)["error"]["message"]));
  return info(text((*body)["state"]) == "not_proven" ? ErrorCode::kNotProven
                                                     : ErrorCode::kNotDurable)
      .exit_code;
}

std::string exit_codes() {
  std::string out = "Exit codes: 0 done";
  for (const auto& e : kErrorTable) out += fmt::format(", {} {}", e.exit_code, e.name);
  return out + ".";
}

int run(int argc, char** argv) {
  Options o;
  CLI::App app{
      "sluicectl: look at and steer a running relay.\n"
      "  sluicectl status                  workers, ports, sessions\n"
      "  sluicectl agents                  who is enrolled, who is connected from where\n"
      "  sluicectl counters                what was forwarded, and every drop with its cure\n"
      "  sluicectl revoke NAME --reason …  cut an agent off, with the proof and its times"};
  app.footer(exit_codes());
  app.add_option("--socket", o.socket, "The relay's admin socket")->capture_default_str();
  app.add_flag("--json", o.as_json, "For programs: one JSON document on standard output");
  app.set_version_flag("--version", SLUICE_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  auto* status = app.add_subcommand("status", "Workers, ports, sessions, crypto path");
  auto* agents = app.add_subcommand("agents", "Every agent with address, state and endpoint");
  auto* edges = app.add_subcommand("edges", "Who may send to whom, with traffic");
  auto* counters = app.add_subcommand("counters", "Traffic, drops by reason, handshakes");
  counters->add_flag("--all", o.all, "Also reasons that never occurred");
  auto* revoke_command = app.add_subcommand(
      "revoke", "Cut an agent off for good; answered only when it is proven that no core forwards");
  revoke_command->add_option("AGENT", o.agent, "Name, DID or address")->required();
  revoke_command->add_option("--reason", o.reason, "Goes into the signed notice to its peers");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : info(ErrorCode::kUsage).exit_code;
  }
  if (status->parsed()) return show(o, "/v1/status", print_status);
  if (agents->parsed()) return show(o, "/v1/agents", print_agents);
  if (edges->parsed()) return show(o, "/v1/edges", print_edges);
  if (counters->parsed()) {
    return o.all ? show(o, "/v1/counters", [](const json& c) { print_counters(c, true); })
                 : show(o, "/v1/counters", [](const json& c) { print_counters(c, false); });
  }
  return revoke(o);
}

}  // namespace
}  // namespace sluice::cli

int main(int argc, char** argv) {
  return sluice::cli::run(argc, argv);
}
