// doctor: what is wrong between this agent and its relay, a line for each thing looked at, with
// what helps.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include <fmt/format.h>

#include "agent/cli_daemon.h"
#include "agent/daemon_client.h"
#include "agent/identity_file.h"
#include "agent/settings.h"
#include "base/file.h"
#include "base/finding.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

constexpr int64_t kClockWarnMs = 5'000;
constexpr int64_t kClockFailMs = 30'000;
constexpr int kConnectMs = 1'000;

struct Addresses {
  Addresses(const std::string& host, uint16_t port, int type) {
    addrinfo hints{};
    hints.ai_socktype = type;
    error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &first);
  }
  ~Addresses() {
    if (first != nullptr) freeaddrinfo(first);
  }
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;
  addrinfo* first = nullptr;
  int error = 0;
};

Finding look_up(const AgentIdentity& id) {
  const Addresses found(id.join.host, id.join.port, SOCK_DGRAM);
  if (found.error != 0) {
    return {"name", Grade::kFailed,
            fmt::format("{} cannot be resolved: {}", id.join.host, gai_strerror(found.error)),
            "check this host's DNS, or take a join string with an address: sluice-agent rejoin"};
  }
  return {"name", Grade::kOk, fmt::format("{} resolves", id.join.host), ""};
}

// What this host's route to the relay carries in one packet; 0: there is none.
int route_mtu(const AgentIdentity& id) {
  const Addresses found(id.join.host, id.join.port, SOCK_DGRAM);
  if (found.first == nullptr) return 0;
  const addrinfo& a = *found.first;
  const Fd fd(socket(a.ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd || connect(fd.get(), a.ai_addr, a.ai_addrlen) != 0) return 0;
  int mtu = 0;
  socklen_t size = sizeof mtu;
  const bool v6 = a.ai_family == AF_INET6;
  getsockopt(fd.get(), v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU : IP_MTU, &mtu, &size);
  return mtu;
}

Finding look_at_session(const json& info) {
  const json& session = info["session"];
  const json& counters = info["counters"];
  const std::string relay = info["relay"].value("name", "");
  if (session.value("up", false)) {
    return {"session", Grade::kOk,
            session.contains("relay_rtt_ms")
                ? fmt::format("{} answers in {} ms", relay, session.value("relay_rtt_ms", 0))
                : fmt::format("there is one with {}", relay),
            ""};
  }
  const json& last = info["last_error"];
  const std::string why = last.is_object() ? ": " + printable(last.value("message", "")) : "";
  const bool silent = counters.value("udp_received", uint64_t{0}) == 0;
  return {"session", Grade::kFailed, fmt::format("there is none with {}{}", relay, why),
          silent ? "nothing came back over UDP: is that port blocked on the way, the relay up, and "
                   "this agent enrolled there? A relay does not answer whom it does not know"
                 : "the relay answers, but accepts no session: see the sentence, and sluice-agent "
                   "logs"};
}

Finding look_at_clock(const json& info) {
  const auto offset = info["session"].value("clock_offset_ms", int64_t{0});
  const int64_t off = offset < 0 ? -offset : offset;
  const std::string text =
      fmt::format("{} ms {} the relay's", off, offset < 0 ? "ahead of" : "behind");
  if (off < kClockWarnMs) return {"clock", Grade::kOk, off == 0 ? "as the relay's" : text, ""};
  return {
      "clock", off < kClockFailMs ? Grade::kWarning : Grade::kFailed, text,
      "set this host's clock (NTP): statements and calls are dated by the relay's, logs are not"};
}

Finding look_at_mtu(const AgentIdentity& id, const json& info) {
  const int own = route_mtu(id);
  const int relay = info["session"].value("mtu", 0);
  if (own == 0 || relay == 0) return {"mtu", Grade::kWarning, "not known without a session", ""};
  if (own >= relay) {
    return {"mtu", Grade::kOk,
            fmt::format("the route carries {} bytes, the relay sends up to {}", own, relay), ""};
  }
  return {
      "mtu", Grade::kFailed,
      fmt::format("the route carries {} bytes, the relay counts on {}", own, relay),
      fmt::format("large packets are lost: the operator sets mtu: {} for the relay's port, or this "
                  "network has to carry more",
                  own)};
}

Finding look_at_offload(const json& info) {
  const std::string offload = info["path"].value("offload", "");
  if (offload == "on") return {"offload", Grade::kOk, "the path takes segmentation offload", ""};
  return {"offload", Grade::kOk,
          offload == "asking" ? "segmentation offload: not known yet"
                              : "segmentation offload is off: the path does not take it",
          ""};
}

Finding look_at_peers(const json& info) {
  const json& peers = info["peers"];
  if (!peers.value("synced", false)) {
    return {"peers", Grade::kWarning, "the relay has not sent the list yet", ""};
  }
  const int refused = peers.value("refused", 0);
  if (refused > 0) {
    return {"peers", Grade::kFailed, fmt::format("{} are not used", refused),
            "sluice-agent peers says why of each"};
  }
  return {"peers", Grade::kOk, fmt::format("{}", peers.value("usable", 0)), ""};
}

std::string connect_to(const UpstreamUrl& url) {
  const Addresses found(url.host, url.port, SOCK_STREAM);
  if (found.error != 0) return gai_strerror(found.error);
  std::string why = "no address";
  for (const addrinfo* a = found.first; a != nullptr; a = a->ai_next) {
    const Fd fd(socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) continue;
    if (connect(fd.get(), a->ai_addr, a->ai_addrlen) == 0) return "";
    pollfd p{fd.get(), POLLOUT, 0};
    int error = errno;
    socklen_t size = sizeof error;
    if (error == EINPROGRESS) {
      error = ETIMEDOUT;
      if (poll(&p, 1, kConnectMs) == 1) getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error == 0) return "";
    why = std::strerror(error);
  }
  return why;
}

Finding look_at_tun(const json& tun) {
  const std::string device = tun.value("device", "");
  const json address = tun.value("address", json());
  if (!address.is_string() || tun.value("mtu", 0u) == 0) {
    return {"tun", Grade::kFailed, fmt::format("{} has no address, so it carries nothing", device),
            "sluice-agent logs says why; docs/tun.md says who may set it"};
  }
  return {"tun", Grade::kOk,
          fmt::format("{} has {} and an MTU of {} bytes; {} packets sent, {} received", device,
                      address.get<std::string>(), tun.value("mtu", 0u),
                      tun.value("sent", uint64_t{0}), tun.value("received", uint64_t{0})),
          ""};
}

void look_at_servers(DaemonClient& client, std::vector<Finding>& out) {
  const auto served = client.get("/v1/upstreams");
  if (!served) return;
  const json& front = (*served)["front"];
  out.push_back({"front", Grade::kOk,
                 front.is_string() ? "http://" + front.get<std::string>() + "/PEER/…" : "off", ""});
  for (const json& u : (*served)["upstreams"]) {
    const std::string url = u.value("upstream", "");
    if (url == "egress") {
      out.push_back({"egress", Grade::kOk,
                     fmt::format("{} calls go to the endpoints of their credentials",
                                 u.value("protocol", "")),
                     ""});
      continue;
    }
    const auto parsed = parse_upstream(url);
    const std::string why = parsed ? connect_to(*parsed) : parsed.error().message;
    if (why.empty()) {
      out.push_back({"server", Grade::kOk, fmt::format("{} takes connections", url), ""});
    } else {
      out.push_back({"server", Grade::kFailed, fmt::format("{} does not: {}", url, why),
                     "start the server, or name another: sluice-agent serve --upstream"});
    }
  }
}

std::vector<Finding> examine(const std::string& state) {
  std::vector<Finding> out;
  const auto identity = load_identity_file(state);
  if (!identity) {
    out.push_back(
        {"identity", Grade::kFailed, identity.error().message, "sluice-agent init < join.txt"});
    return out;
  }
  out.push_back({"identity", Grade::kOk, identity->did(), ""});
  const auto settings = load_settings(settings_path(state));
  if (settings) {
    out.push_back({"settings", Grade::kOk, settings_path(state), ""});
  } else {
    out.push_back({"settings", Grade::kFailed, settings.error().message,
                   "mend the file; docs/http.md has its keys"});
  }
  out.push_back(look_up(*identity));
  DaemonClient client(state);
  const auto info = client.get("/v1/info");
  if (!info) {
    out.push_back({"daemon", Grade::kFailed, info.error().message, "start it: sluice-agent up"});
    return out;
  }
  const std::string version = info->value("version", "");
  const bool same = version == SLUICE_VERSION;
  out.push_back({"daemon", same ? Grade::kOk : Grade::kWarning,
                 same ? fmt::format("runs, version {}", version)
                      : fmt::format("runs version {}, this is {}", version, SLUICE_VERSION),
                 same ? "" : "restart it: sluice-agent down, and up"});
  out.push_back(look_at_session(*info));
  out.push_back(look_at_clock(*info));
  out.push_back(look_at_mtu(*identity, *info));
  out.push_back(look_at_offload(*info));
  out.push_back(look_at_peers(*info));
  look_at_servers(client, out);
  if (const json tun = info->value("tun", json()); tun.is_object()) out.push_back(look_at_tun(tun));
  if (const json& log = (*info)["key_log"]; log.is_string()) {
    out.push_back(
        {"keylog", Grade::kWarning,
         fmt::format("the keys of all sessions are written to {}", log.get<std::string>()),
         "start the daemon without --keylog and remove the file"});
  }
  return out;
}

}  // namespace

Result<int> run_doctor(const std::string& state, bool as_json) {
  std::vector<Finding> findings = examine(state);
  for (Finding& f : findings) f.detail = printable(f.detail);
  if (as_json) {
    fmt::print("{}\n", pretty(findings_json<json>(findings)));
  } else {
    print_findings(findings);
  }
  return any_failed(findings) ? 1 : 0;
}

}  // namespace sluice::agent
