#include "cli/observe.h"

#include <chrono>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include "base/duration.h"
#include "cli/table.h"
#include "cli/trace.h"
#include "cli/views.h"
#include "http/url.h"

namespace sluice::cli {
namespace {

using nlohmann::json;

constexpr unsigned kWaitMs = 20'000;  // of one request for events
constexpr auto kTimeout = std::chrono::seconds(30);

uint64_t now_ms() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now().time_since_epoch())
                                   .count());
}

std::vector<std::string> latency_row(std::string who, const json& r) {
  const auto time = [&r](const char* key) {
    return r[key].is_null() ? std::string("-") : micros(r[key]);
  };
  return {std::move(who), count(r["packets"]), time("mean_us"), time("p50_us"),
          time("p90_us"), time("p99_us"),      time("p999_us"), time("longest_us")};
}

void print_latency(const json& b) {
  if (!b["measured"].get<bool>()) {
    fmt::print("not measured: observability.latency is off in the relay's configuration\n");
    return;
  }
  const auto table = [](const char* title, const std::vector<std::vector<std::string>>& rows) {
    const std::vector<Column> columns = {{title, false},  {"packets", true}, {"mean", true},
                                         {"p50", true},   {"p90", true},     {"p99", true},
                                         {"p99.9", true}, {"longest", true}};
    fmt::print("{}", format_table(columns, rows));
  };
  std::vector<std::vector<std::string>> rows;
  for (const json& w : b["workers"]) rows.push_back(latency_row(text(w["worker"]), w));
  fmt::print("forwarded packets since the start, from RX to TX\n\n");
  table("worker", rows);
  rows.clear();
  for (const json& t : b["tenants"]) {
    rows.push_back(latency_row(t["name"].is_null()
                                   ? text(t["tenant"])
                                   : fmt::format("{} ({})", text(t["name"]), text(t["tenant"])),
                               t));
  }
  fmt::print("\n");
  if (!rows.empty()) table("tenant", rows);
  if (const uint64_t n = b["tenants_without"]; n != 0) {
    fmt::print("{} more tenants: raise observability.latency_tenants to see them apart\n", n);
  }
}

}  // namespace

Observe::Observe(CLI::App& app) {
  latency_ =
      app.add_subcommand("latency", "How long packets are in the relay, by worker and tenant");
  trace_ = app.add_subcommand("trace", "What became of the calls of one trace id");
  trace_->add_option("ID", id_, "32 hex digits, as the call's envelope and the audit log have it")
      ->required();
  trace_->add_option("--since", since_, "Look so far back: 90s, 15m, 24h, 30d, or all")
      ->capture_default_str();
  trace_->add_option("--until", until_, "Only what is older than that (default: up to now)");
  trace_->footer(
      "Decisions and ends come from the audit log, calls that are open now from the workers' own\n"
      "tables. Decisions are in the log's published part within about a second.\n"
      "Example:  sluicectl trace 4bf92f3577b34da6a3ce929d0e0e4736 --since 7d");
  events_ = app.add_subcommand("events", "What happens now, one JSON object a line");
  events_->add_flag("--follow", follow_, "And what comes, until interrupted");
  events_->add_option("--kind", kind_,
                      "Only this kind, such as session, change, proof or link_down");
  events_->add_option("--tenant", tenant_, "Only what concerns its agents (name or number)");
  events_->footer(
      "Sessions, changes, calls and revocations as they go to the audit log, and beside them what\n"
      "is no matter of rights: links, stalls, floods, the log's own troubles. The relay keeps the\n"
      "last 8,192; who is too slow gets a line of kind gap. What must be complete is read with\n"
      "sluicectl audit tail or export.\n"
      "Example:  sluicectl events --follow --kind link_down");
}

std::optional<int> Observe::run(const Client& client) const {
  if (latency_->parsed()) return client.show("/v1/latency", print_latency);
  if (trace_->parsed()) return trace(client);
  if (events_->parsed()) return events(client);
  return std::nullopt;
}

int Observe::trace(const Client& client) const {
  TraceSpan span;
  const auto ago = [](const std::string& text, uint64_t& out) {
    const auto seconds = parse_duration_s(text);
    if (seconds) out = now_ms() - std::min(now_ms(), *seconds * 1000);
    return seconds.has_value();
  };
  if (since_ != "all" && !ago(since_, span.since_ms)) {
    return client.report({ErrorCode::kUsage,
                          fmt::format("--since {} is no time; give a number and s, m, h or d, such "
                                      "as 24h, or all",
                                      since_)});
  }
  if (!until_.empty() && !ago(until_, span.until_ms)) {
    return client.report(
        {ErrorCode::kUsage,
         fmt::format("--until {} is no time; give a number and s, m, h or d, such as 1h", until_)});
  }
  if (span.since_ms > span.until_ms) {
    return client.report(
        {ErrorCode::kUsage, fmt::format("--until {} lies before --since {}", until_, since_)});
  }
  return run_trace(client, id_, span);
}

int Observe::events(const Client& client) const {
  std::string filter;
  if (!kind_.empty()) filter += "&kind=" + http::percent_encode(kind_);
  if (!tenant_.empty()) filter += "&tenant=" + http::percent_encode(tenant_);
  for (uint64_t after = 0;;) {
    const auto page = client.call(
        "GET",
        fmt::format("/v1/events?after={}&wait_ms={}{}", after, follow_ ? kWaitMs : 0, filter), "",
        kTimeout);
    if (!page) return client.report(page.error());
    // At the beginning nobody has missed what was before.
    if (after != 0 && (*page)["lost"] != 0) {
      fmt::print("{}\n", json{{"kind", "gap"}, {"count", (*page)["lost"]}}.dump());
    }
    for (const json& e : (*page)["events"]) fmt::print("{}\n", e.dump());
    std::fflush(stdout);
    const uint64_t last = (*page)["last"];
    const bool more = last != after && !(*page)["events"].empty();
    after = last;
    if (!follow_ && !more) return 0;
  }
}

}  // namespace sluice::cli
