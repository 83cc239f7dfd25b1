#include "agent/cli_daemon.h"

#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include "agent/daemon_client.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kDownWithin{10'000};
constexpr milliseconds kLookAgain{100};
constexpr milliseconds kFollowEvery{500};

std::string word(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? printable(it->get<std::string>()) : "";
}

}  // namespace

Result<int> run_down(const std::string& state) {
  DaemonClient client(state);
  const auto told = client.post("/v1/stop", json::object(), kDownWithin);
  if (!told) return tl::unexpected(told.error());
  const auto until = steady_clock::now() + kDownWithin;
  while (client.get("/v1/upstreams")) {
    if (steady_clock::now() > until) {
      return fail(ErrorCode::kTimeout, "the daemon was told to stop and still runs after 10 s");
    }
    std::this_thread::sleep_for(kLookAgain);
  }
  fmt::print(stderr, "stopped\n");
  return 0;
}

Result<int> run_status(const std::string& state, bool as_json) {
  DaemonClient client(state);
  const auto info = client.get("/v1/info");
  if (!info) return tl::unexpected(info.error());
  const auto served = client.get("/v1/upstreams");
  if (!served) return tl::unexpected(served.error());
  const auto calls = client.get("/v1/calls");
  if (!calls) return tl::unexpected(calls.error());
  size_t open = 0;
  for (const json& c : (*calls)["calls"]) open += c.value("state", "") == "ended" ? 0 : 1;
  const json& session = (*info)["session"];
  const bool up = session.value("up", false);
  if (as_json) {
    const json out = {{"connected", up},
                      {"name", (*info)["name"]},
                      {"did", (*info)["did"]},
                      {"relay", (*info)["relay"]["name"]},
                      {"address", (*info)["address"]},
                      {"session", session},
                      {"peers", (*info)["peers"]},
                      {"calls_open", open},
                      {"calls", (*info)["calls"]},
                      {"key_log", (*info)["key_log"]},
                      {"tun", info->value("tun", json())},
                      {"front", (*served)["front"]},
                      {"upstreams", (*served)["upstreams"]},
                      {"last_error", (*info)["last_error"]}};
    fmt::print("{}\n", pretty(out));
    return up ? 0 : sluice::info(ErrorCode::kUnreachable).exit_code;
  }
  fmt::print("{} is {} {}\n", word(*info, "name"), up ? "connected to" : "not connected to",
             word((*info)["relay"], "name"));
  if (up) {
    fmt::print("  session {} old{}\n", duration_text(session.value("age_ms", uint64_t{0})),
               session.contains("relay_rtt_ms")
                   ? fmt::format(", relay answers in {} ms", session.value("relay_rtt_ms", 0))
                   : "");
  }
  const json& counts = (*info)["calls"];
  fmt::print("  {} peers, {} calls open, {} made, {} served, {} denied\n",
             (*info)["peers"].value("usable", 0), open, counts.value("opened", uint64_t{0}),
             counts.value("served", uint64_t{0}), counts.value("denied", uint64_t{0}));
  const std::string front = word(*served, "front");
  fmt::print("  HTTP front {}\n", front.empty() ? "off" : "on http://" + front + "/PEER/…");
  for (const json& u : (*served)["upstreams"]) {
    fmt::print("  serves {} under {} from {}: {} calls, {} failed, {} open\n", word(u, "protocol"),
               word(u, "path"), word(u, "upstream"), u.value("calls", uint64_t{0}),
               u.value("failed", uint64_t{0}), u.value("open", uint64_t{0}));
  }
  if (const json tun = info->value("tun", json()); tun.is_object()) {
    const std::string address = word(tun, "address");
    fmt::print("  TUN device {} {}\n", word(tun, "device"),
               address.empty() ? "has no address yet" : "has " + address);
  }
  if (const std::string log = word(*info, "key_log"); !log.empty()) {
    fmt::print("  WARNING: the keys of all sessions are written to {} (docs/capture.md)\n", log);
  }
  const json& last = (*info)["last_error"];
  if (!up && last.is_object()) fmt::print("  {}\n", word(last, "message"));
  return up ? 0 : sluice::info(ErrorCode::kUnreachable).exit_code;
}

Result<int> run_logs(const std::string& state, const LogsCommand& command) {
  DaemonClient client(state);
  uint64_t from = 0;
  for (bool first = true;; first = false) {
    const auto answer = client.get(fmt::format("/v1/logs?from={}", from));
    if (!answer) return tl::unexpected(answer.error());
    const json& lines = (*answer)["lines"];
    const size_t skip = first && lines.size() > command.lines ? lines.size() - command.lines : 0;
    for (size_t i = skip; i < lines.size(); ++i) {
      fmt::print("{}\n", printable(lines[i].get<std::string>()));
    }
    std::fflush(stdout);
    from = answer->value("next", from);
    if (!command.follow) return 0;
    std::this_thread::sleep_for(kFollowEvery);
  }
}

}  // namespace sluice::agent
