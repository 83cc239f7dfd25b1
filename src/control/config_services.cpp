#include <sys/un.h>

#include <algorithm>

#include <fmt/format.h>

#include "control/config_parts.h"

namespace sluice::control {
namespace {

void read_path(const Section& s, std::string_view key, std::string& out) {
  const auto v = s.text(key);
  if (!v) return;
  if (!v->text.starts_with('/')) {
    s.problem(v->line, key,
              fmt::format("{} is not an absolute path; begin it with /", quote(v->text)));
  } else if (v->text.size() >= 4096) {
    s.problem(v->line, key, "is longer than the 4095 bytes of a path");
  } else {
    out = v->text;
  }
}

void read_file_path(const Section& s, std::string_view key, std::string& out) {
  std::string path;
  read_path(s, key, path);
  if (path.ends_with('/')) {
    s.problem(s.line_of(key), key,
              fmt::format("{} ends with /; name the file itself", quote(path)));
  } else if (!path.empty()) {
    out = path;
  }
}

void read_relay(const Section& s, RelayConfig& out) {
  read_path(s, "state_dir", out.state_dir);
  while (out.state_dir.size() > 1 && out.state_dir.ends_with('/')) out.state_dir.pop_back();
  out.key_file = out.state_dir + (out.state_dir == "/" ? "" : "/") + "relay.key";
  read_file_path(s, "key_file", out.key_file);
  s.number("udp_port", out.udp_port, 1, 65535);
  s.flag("ipv4_udp_checksum", out.ipv4_udp_checksum);
  s.number("dscp", out.dscp, 0, 63);
}

void read_limits(const Section& s, LimitsConfig& out) {
  s.number("agents", out.agents, 1, 1'000'000);
  s.number("edges", out.edges, 2, 16'000'000);
  s.number("sessions", out.sessions, 2, 4'000'000);
  s.number("tenants", out.tenants, 1, 65'535);
  s.number("prepared_keys_mb", out.prepared_keys_mb, 0, 65'536);
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

bool is_group_name(std::string_view name) {
  return name.size() <= 32 && !name.starts_with('-') &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || c == '-' || c == '.';
         });
}

void read_admin(const Section& s, AdminConfig& out) {
  constexpr size_t kLongestSocket = sizeof(sockaddr_un::sun_path) - 1;
  std::string socket = out.socket;
  read_file_path(s, "socket", socket);
  if (socket.size() > kLongestSocket) {
    s.problem(s.line_of("socket"), "socket",
              fmt::format("is {} bytes long; a Unix socket's path has at most {}", socket.size(),
                          kLongestSocket));
  } else {
    out.socket = socket;
  }
  const auto group = s.text("group");
  if (!group) return;
  if (!is_group_name(group->text)) {
    s.problem(group->line, "group",
              fmt::format("{} is not a group's name; give one from /etc/group, or \"\" for root "
                          "alone",
                          quote(group->text)));
  } else {
    out.group = group->text;
  }
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

  const Section control = root.section("control", {"scheduling"});
  control.choice<ControlScheduling>("scheduling", out.scheduling,
                                    {{"auto", ControlScheduling::kAuto},
                                     {"fifo", ControlScheduling::kFifo},
                                     {"normal", ControlScheduling::kNormal}});

  read_relay(
      root.section("relay", {"state_dir", "key_file", "udp_port", "ipv4_udp_checksum", "dscp"}),
      out.relay);

  const Section hs = root.section("handshake", {"under_load_per_s", "under_load_burst",
                                                "session_life_s", "unconfirmed_s", "agent_lanes"});
  hs.number("under_load_per_s", out.handshake.under_load_per_s, 1, 1'000'000);
  hs.number("under_load_burst", out.handshake.under_load_burst, 1, 65'536);
  hs.number("session_life_s", out.handshake.session_life_s, 150, 180);
  hs.number("unconfirmed_s", out.handshake.unconfirmed_s, 1, 30);
  hs.number("agent_lanes", out.handshake.agent_lanes, 1, 8);

  read_limits(root.section("limits", {"agents", "edges", "sessions", "tenants", "prepared_keys_mb",
                                      "packet_buffers"}),
              out.limits);
  read_admin(root.section("admin", {"socket", "group"}), out.admin);
}

}  // namespace sluice::control
