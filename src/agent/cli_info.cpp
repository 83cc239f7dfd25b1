#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "agent/cli.h"
#include "agent/daemon_client.h"
#include "agent/identity_file.h"
#include "base/clock.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

// What the identity alone tells, in the form of the daemon's answer.
json offline_info(const AgentIdentity& id) {
  return {{"did", id.did()},
          {"name", id.name},
          {"tenant", id.tenant},
          {"version", SLUICE_VERSION},
          {"relay",
           {{"name", id.relay_name()},
            {"key", crypto::to_base64(id.join.relay_key)},
            {"id", crypto::to_base64(id.join.relay_id)}}}};
}

void print_line(const char* label, const std::string& value) {
  fmt::print("{:<10} {}\n", label, printable(value));
}

std::string text_or(const json& value, const char* otherwise) {
  return value.is_string() ? value.get<std::string>() : otherwise;
}

void print_session(const json& info) {
  const json& s = info["session"];
  if (!s.value("up", false)) {
    print_line("session", "none");
  } else {
    std::string line =
        fmt::format("{} old, messages up to {} bytes",
                    duration_text(s.value("age_ms", uint64_t{0})), s.value("max_message", 0));
    if (s.contains("relay_rtt_ms")) {
      line += fmt::format(", relay answers in {} ms", s.value("relay_rtt_ms", 0));
    }
    print_line("session", line);
  }
  if (const auto offset = s.value("clock_offset_ms", int64_t{0}); offset != 0) {
    print_line("clock", fmt::format("{} ms {} the relay's", offset < 0 ? -offset : offset,
                                    offset < 0 ? "ahead of" : "behind"));
  }
}

void print_info(const json& info, bool daemon) {
  print_line("name", text_or(info["name"], ""));
  print_line("did", text_or(info["did"], ""));
  const json& relay = info["relay"];
  const std::string at = daemon ? text_or(relay["address"], "") : "";
  print_line("relay", text_or(relay["name"], "") + (at.empty() ? "" : " at " + at));
  if (!daemon) return print_line("daemon", "not running; start it with: sluice-agent up");
  print_line("address",
             text_or(info["address"], "none yet: the relay has not accepted this agent"));
  print_session(info);
  const json& peers = info["peers"];
  const int refused = peers.value("refused", 0);
  print_line("peers", fmt::format("{}{}", peers.value("usable", 0),
                                  refused == 0 ? "" : fmt::format(", {} refused", refused)));
  const json& c = info["counters"];
  print_line(
      "messages",
      fmt::format("{} sent, {} received, {} waiting, {} dropped",
                  c.value("messages_sent", uint64_t{0}), c.value("messages_received", uint64_t{0}),
                  c.value("inbox_waiting", uint64_t{0}), c.value("inbox_dropped", uint64_t{0})));
  for (const json& r : info["revocations"]) {
    print_line("revoked", fmt::format("{} {}", text_or(r["did"], ""), text_or(r["reason"], "")));
  }
  const json& last = info["last_error"];
  if (last.is_object()) {
    const uint64_t now = Clock(1).unix_ms(), then = last.value("unix_ms", now);
    print_line("problem", fmt::format("{} ago: {}", duration_text(now - std::min(now, then)),
                                      text_or(last["message"], "")));
  }
}

// Peers choose their names: what is no single label of a host name is left out, and none can pass
// for a host of elsewhere.
bool is_host_label(const std::string& name) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 63 && letter(name.front()) && letter(name.back()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || c == '-'; });
}

void print_hosts(const json& peers) {
  const auto name_of = [](const json& peer) {
    std::string name = text_or(peer["name"], "");
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return name;
  };
  std::map<std::string, unsigned> times;
  for (const json& p : peers) ++times[name_of(p)];
  for (const json& p : peers) {
    const std::string name = name_of(p);
    const std::string ip = p.value("ipv6", "");
    if (!is_host_label(name) || times[name] > 1 || ip.empty()) {
      fmt::print(stderr, "left out: {} {}\n", printable(name), text_or(p["did"], ""));
      continue;
    }
    fmt::print("{} {}.sluice\n", ip, name);
  }
}

}  // namespace

Result<int> run_info(const std::string& state, const InfoCommand& command) {
  const auto identity = load_identity_file(state);
  if (!identity) return tl::unexpected(identity.error());
  if (command.statement) {
    fmt::print("{}\n", enrol_statement(*identity, Clock(1).unix_ms()));
    return 0;
  }
  auto answer = DaemonClient(state).get("/v1/info");
  if (!answer && answer.error().code != ErrorCode::kUnreachable) {
    return tl::unexpected(answer.error());
  }
  json info = answer ? std::move(*answer) : offline_info(*identity);
  info["daemon"] = answer.has_value();
  if (command.json) {
    fmt::print("{}\n", pretty(info));
  } else {
    print_info(info, answer.has_value());
  }
  return 0;
}

Result<int> run_peers(const std::string& state, const PeersCommand& command) {
  auto answer = DaemonClient(state).get("/v1/peers");
  if (!answer) return tl::unexpected(answer.error());
  if (command.json) {
    fmt::print("{}\n", pretty(*answer));
    return 0;
  }
  const json& peers = (*answer)["peers"];
  if (command.hosts) {
    print_hosts(peers);
    return 0;
  }
  if (peers.empty()) {
    fmt::print(stderr, "{}\n",
               answer->value("synced", false)
                   ? "no edges: the operator has not connected this agent to others"
                   : "the relay has not sent this agent's list of edges yet");
    return 0;
  }
  for (const json& p : peers) {
    const std::string state_text = text_or(p["state"], "");
    fmt::print("{:<20} {:<16} {:<10} {:<10} {} {}\n", printable(text_or(p["name"], "")),
               text_or(p["address"], ""), text_or(p["right"], ""),
               p.value("verified", false) ? "verified" : "unverified", text_or(p["did"], ""),
               state_text == "ok" ? "" : printable(state_text + ": " + p.value("reason", "")));
  }
  return 0;
}

Result<int> run_rotate_identity(const std::string& state, bool as_json) {
  // The relay's answer may take as long as its disk.
  const auto answer =
      DaemonClient(state).post("/v1/identity/rotate", json::object(), std::chrono::seconds(15));
  if (!answer) return tl::unexpected(answer.error());
  if (as_json) {
    fmt::print("{}\n", pretty(*answer));
  } else {
    fmt::print("this agent is {} from now on\n", text_or((*answer)["did"], ""));
  }
  return 0;
}

}  // namespace sluice::agent
