#include "agent/cli_upstream.h"

#include <signal.h>

#include <cstdio>
#include <ctime>

#include <fmt/format.h>

#include "agent/daemon_client.h"
#include "agent/front/upstream_config.h"
#include "base/duration.h"
#include "crypto/secret.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr milliseconds kAnswer{10'000};
constexpr time_t kAgainS = 5;

Result<uint64_t> timeout_of(const std::string& text) {
  const auto s = parse_duration_s(text);
  if (s && *s > 0 && *s <= kLongestUpstreamS) return *s;
  return fail(ErrorCode::kUsage,
              fmt::format("--timeout {} is not a time from 1s to 1d", printable(text)));
}

// Says `body` to the daemon now and every few seconds, until a signal ends it. `begun` is called
// once it was taken.
template <typename Begun>
Result<int> keep_upstream(const std::string& state, json body, const Begun& begun) {
  // Waited for, not handled: whatever comes, the daemon is told.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  const std::string server = fmt::format("{:016x}", crypto::random_u64());
  body["server"] = server;
  DaemonClient client(state);
  auto answer = client.post("/v1/upstreams", body, kAnswer);
  if (!answer) return tl::unexpected(answer.error());
  begun();
  bool away = false;
  for (;;) {
    const timespec wait{kAgainS, 0};
    if (sigtimedwait(&ends, nullptr, &wait) > 0) break;
    answer = client.post("/v1/upstreams", body, kAnswer);
    if (answer) {
      if (std::exchange(away, false)) fmt::print(stderr, "serving again\n");
      continue;
    }
    if (answer.error().code != ErrorCode::kUnreachable &&
        answer.error().code != ErrorCode::kTimeout)
      return tl::unexpected(answer.error());
    if (!std::exchange(away, true)) {
      fmt::print(stderr, "{}; waiting for it\n", printable(answer.error().message));
    }
  }
  (void)client.del(fmt::format("/v1/upstreams?server={}", server), kAnswer);
  return 0;
}

void say(const json& line) {
  fmt::print("{}\n", line.dump(-1, ' ', false, json::error_handler_t::replace));
  std::fflush(stdout);
}

}  // namespace

Result<int> run_serve_upstream(const std::string& state, const ServeCommand& command) {
  const auto timeout = timeout_of(command.upstream_timeout);
  if (!timeout) return tl::unexpected(timeout.error());
  json body = {{"protocol", command.protocol},
               {"upstream", command.upstream},
               {"timeout_s", *timeout},
               {"strip_authorization", command.strip_authorization},
               {"strip_cookies", command.strip_cookies}};
  if (!command.path.empty()) body["path"] = command.path;
  return keep_upstream(state, std::move(body), [&] {
    if (command.json) {
      say({{"serving", command.protocol},
           {"upstream", command.upstream},
           {"path", command.path.empty() ? "/" : command.path}});
    }
    fmt::print(stderr, "serving {} calls under {} from {}; ends with Ctrl-C\n", command.protocol,
               command.path.empty() ? "/" : printable(command.path), printable(command.upstream));
  });
}

Result<int> run_egress(const std::string& state, const EgressCommand& command) {
  const auto timeout = timeout_of(command.timeout);
  if (!timeout) return tl::unexpected(timeout.error());
  json body = {{"protocol", command.protocol},
               {"egress", true},
               {"allow", command.allow},
               {"timeout_s", *timeout}};
  if (!command.path.empty()) body["path"] = command.path;
  return keep_upstream(state, std::move(body), [&] {
    if (command.json) {
      say({{"serving", command.protocol},
           {"upstream", "egress"},
           {"path", command.path.empty() ? "/" : command.path}});
    }
    fmt::print(stderr,
               "serving {} calls under {} from the endpoints of their credentials; ends with "
               "Ctrl-C\n",
               command.protocol, command.path.empty() ? "/" : printable(command.path));
  });
}

}  // namespace sluice::agent
