#include <algorithm>

#include <fmt/format.h>

#include "audit/note.h"
#include "base/byte_size.h"
#include "base/duration.h"
#include "control/config_parts.h"

namespace sluice::control {
namespace {

constexpr uint64_t kLeastKept = 1u << 20;  // of the audit log

void read_host(const Section& s, std::string_view key, std::string& out) {
  const auto v = s.text(key);
  if (!v) return;
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == ':';
  };
  if (v->text.empty() || v->text.size() > 253 ||
      !std::all_of(v->text.begin(), v->text.end(), good)) {
    s.problem(v->line, key,
              fmt::format("{} is neither a name nor an address; give what agents connect to, "
                          "without a port",
                          quote(v->text)));
    return;
  }
  out = v->text;
}

void read_relay(const Section& s, RelayConfig& out) {
  s.path("state_dir", out.state_dir);
  while (out.state_dir.size() > 1 && out.state_dir.ends_with('/')) out.state_dir.pop_back();
  out.key_file = out.state_dir + (out.state_dir == "/" ? "" : "/") + "relay.key";
  s.file_path("key_file", out.key_file);
  s.number("udp_port", out.udp_port, 1, 65535);
  read_host(s, "public_host", out.public_host);
  s.flag("ipv4_udp_checksum", out.ipv4_udp_checksum);
  s.number("dscp", out.dscp, 0, 63);
}

void read_retention(const Section& s, AuditConfig& out) {
  if (const auto v = s.text("keep_for"); v && v->text != "forever") {
    const auto seconds = parse_duration_s(v->text);
    out.keep_for_s = seconds.value_or(0);
    if (out.keep_for_s == 0) {
      s.problem(v->line, "keep_for",
                fmt::format("{} is no time; give forever, or a number and s, m, h or d, such as "
                            "365d",
                            quote(v->text)));
    }
  }
  if (const auto v = s.text("keep_bytes"); v && v->text != "all") {
    const auto bytes = parse_bytes(v->text);
    out.keep_bytes = bytes.value_or(0);
    if (!bytes) {
      s.problem(v->line, "keep_bytes",
                fmt::format("{} is no size; give all, or a number and MiB, GiB or TiB, such as "
                            "200GiB",
                            quote(v->text)));
    } else if (*bytes < kLeastKept) {
      s.problem(v->line, "keep_bytes",
                fmt::format("{} is too little; give 1MiB or more", quote(v->text)));
    }
  }
}

void read_audit(const Section& s, const std::string& state_dir, AuditConfig& out) {
  out.folder = state_dir + (state_dir == "/" ? "" : "/") + "audit";
  s.path("folder", out.folder);
  while (out.folder.size() > 1 && out.folder.ends_with('/')) out.folder.pop_back();
  read_retention(s, out);
  s.number("alert_days", out.alert_days, 0, 36'500);
  s.choice<WhenUnavailable>("when_unavailable", out.when_unavailable,
                            {{"deny", WhenUnavailable::kDeny}, {"count", WhenUnavailable::kCount}});
  const auto origin = s.text("origin");
  if (!origin) return;
  if (!audit::is_origin(origin->text)) {
    s.problem(origin->line, "origin",
              fmt::format("{} cannot name a log: give something like relay.example/audit, without "
                          "spaces and '+'",
                          quote(origin->text)));
    return;
  }
  out.origin = origin->text;
}

void read_limits(const Section& s, LimitsConfig& out) {
  s.number("agents", out.agents, 1, 1'000'000);
  s.number("edges", out.edges, 2, 16'000'000);
  s.number("sessions", out.sessions, 2, 4'000'000);
  s.number("tenants", out.tenants, 1, 65'535);
  s.number("prepared_keys_mb", out.prepared_keys_mb, 0, 65'536);
  s.number("calling_agents", out.calling_agents, 0, 1'000'000);
  const auto power_of_two = [&](const char* key, uint32_t& value, uint32_t most) {
    uint32_t v = value;
    if (!s.number(key, v, 8, most)) return;
    if (!std::has_single_bit(v)) {
      s.problem(s.line_of(key), key,
                fmt::format("{} is no power of two; give {} or {}", v, std::bit_floor(v),
                            std::bit_ceil(v)));
      return;
    }
    value = v;
  };
  power_of_two("calls_per_agent", out.calls_per_agent, 65536);
  power_of_two("idempotency_keys_per_agent", out.idempotency_keys_per_agent, 1u << 20);
  s.number("scope_sets", out.scope_sets, 0, 1'000'000);
  s.number("limited_edges", out.limited_edges, 0, 16'000'000);
  s.number("credentials", out.credentials, 0, 65'536);
  constexpr uint32_t kFewestBuffers = 1024;
  uint32_t buffers = 0;
  if (!s.number("packet_buffers", buffers, 0, 16'000'000)) return;
  if (buffers != 0 && buffers < kFewestBuffers) {
    s.problem(s.line_of("packet_buffers"), "packet_buffers",
              fmt::format("{} is too few to fill a NIC's rings; give {} or more, or 0 to have them "
                          "computed",
                          buffers, kFewestBuffers));
    return;
  }
  out.packet_buffers = buffers;
}

}  // namespace

void read_services(const Section& root, Config& out) {
  const Section log = root.section("log", {"level"});
  log.choice<std::string>("level", out.log_level,
                          {{"trace", "trace"},
                           {"debug", "debug"},
                           {"info", "info"},
                           {"warn", "warn"},
                           {"error", "error"}});

  const Section worker = root.section("worker", {"idle", "burst"});
  worker.choice<fabric::IdleMode>(
      "idle", out.topology.idle,
      {{"spin", fabric::IdleMode::kSpin}, {"backoff", fabric::IdleMode::kBackoff}});
  worker.number("burst", out.topology.burst, 1, fabric::kMaxBurst);

  const Section control = root.section("control", {"scheduling", "max_staleness_s", "when_stale"});
  control.number("max_staleness_s", out.max_staleness_s, 1, 3600);
  control.choice<WhenStale>("when_stale", out.when_stale,
                            {{"refuse", WhenStale::kRefuse}, {"forward", WhenStale::kForward}});
  control.choice<ControlScheduling>("scheduling", out.scheduling,
                                    {{"auto", ControlScheduling::kAuto},
                                     {"fifo", ControlScheduling::kFifo},
                                     {"normal", ControlScheduling::kNormal}});

  read_relay(root.section("relay", {"state_dir", "key_file", "udp_port", "public_host",
                                    "ipv4_udp_checksum", "dscp"}),
             out.relay);

  read_audit(root.section("audit", {"folder", "origin", "keep_for", "keep_bytes", "alert_days",
                                    "when_unavailable"}),
             out.relay.state_dir, out.audit);

  const Section hs = root.section("handshake", {"under_load_per_s", "under_load_burst",
                                                "session_life_s", "unconfirmed_s", "agent_lanes"});
  hs.number("under_load_per_s", out.handshake.under_load_per_s, 1, 1'000'000);
  hs.number("under_load_burst", out.handshake.under_load_burst, 1, 65'536);
  hs.number("session_life_s", out.handshake.session_life_s, 150, 180);
  hs.number("unconfirmed_s", out.handshake.unconfirmed_s, 1, 30);
  hs.number("agent_lanes", out.handshake.agent_lanes, 1, 8);

  read_limits(root.section("limits", {"agents", "edges", "sessions", "tenants", "prepared_keys_mb",
                                      "packet_buffers", "calling_agents", "calls_per_agent",
                                      "idempotency_keys_per_agent", "scope_sets", "limited_edges",
                                      "credentials"}),
              out.limits);
  read_calls(root, out.calls);
}

}  // namespace sluice::control
