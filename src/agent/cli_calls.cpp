// call and calls: a request to a peer and its response, and what is under way.
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

#include "agent/cli.h"
#include "agent/daemon_client.h"
#include "agent/whole_message.h"
#include "base/duration.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr uint64_t kLongestS = 3'600;
constexpr milliseconds kTimeout{30'000};

Result<Buffer> read_request() {
  Buffer out;
  uint8_t chunk[65'536];
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(ErrorCode::kUsage, "standard input cannot be read");
    if (n == 0) return out;
    out.insert(out.end(), chunk, chunk + n);
    if (out.size() > kMostMessage) {
      return fail(ErrorCode::kTooLarge, "the request is larger than 16 MiB");
    }
  }
}

Result<void> write_response(Bytes response) {
  const size_t written = std::fwrite(response.data(), 1, response.size(), stdout);
  if (written == response.size() && std::fflush(stdout) == 0) return {};
  return fail(ErrorCode::kResource, "the response cannot be written to standard output");
}

int exit_code_of(const std::string& code) {
  const auto row = std::find_if(std::begin(kErrorTable), std::end(kErrorTable),
                                [&](const ErrorInfo& r) { return code == r.name; });
  return row == std::end(kErrorTable) ? 1 : row->exit_code;
}

std::string text_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : std::string();
}

int report_failure(const json& error) {
  std::string line =
      fmt::format("sluice-agent: {} [{}]", text_of(error, "message"), text_of(error, "reason"));
  if (const std::string hint = text_of(error, "hint"); !hint.empty()) line += "; " + hint;
  if (error["retry_after_ms"].is_number_unsigned()) {
    line += fmt::format("; not before {}", duration_text(error["retry_after_ms"].get<uint64_t>()));
  }
  fmt::print(stderr, "{}\n", printable(line));
  return exit_code_of(text_of(error, "code"));
}

// Until it has ended; tells the person at the terminal when somebody else has to act.
Result<json> wait_for_end(DaemonClient& client, const std::string& call) {
  std::string state = "opening";
  for (;;) {
    auto now = client.get(
        fmt::format("/v1/calls/wait?call={}&state={}&wait_ms={}", call, state, kLongPollMs),
        milliseconds(kLongPollMs) + kTimeout);
    if (!now) return now;
    const std::string next = text_of(*now, "state");
    if (next == "ended") return now;
    if (next != state && next == "awaiting_approval") {
      fmt::print(stderr, "waiting: an operator of the relay has to approve the call\n");
    }
    state = next;
  }
}

std::string padded(const std::string& text, size_t width) {
  return fmt::format("{:<{}}", text, width);
}

}  // namespace

Result<int> run_call(const std::string& state, const CallCommand& command) {
  const auto timeout = parse_duration_s(command.timeout);
  if (!timeout || *timeout == 0 || *timeout > kLongestS) {
    return fail(ErrorCode::kUsage, fmt::format("--timeout {} is not a time from 1s to 1h",
                                               printable(command.timeout)));
  }
  const auto request = read_request();
  if (!request) return tl::unexpected(request.error());
  json body = {{"peer", command.peer},
               {"capability", command.capability},
               {"protocol", command.protocol},
               {"service", command.service},
               {"scopes", command.scopes},
               {"timeout_ms", *timeout * 1000},
               {"data", crypto::to_base64(*request)}};
  if (!command.trace.empty()) body["trace"] = command.trace;
  if (!command.idempotency_key.empty()) body["idempotency_key"] = command.idempotency_key;
  DaemonClient client(state);
  const auto opened = client.post("/v1/calls", body, kTimeout);
  if (!opened) return tl::unexpected(opened.error());
  auto end = wait_for_end(client, text_of(*opened, "call"));
  if (!end) return tl::unexpected(end.error());
  if (command.json) {
    fmt::print("{}\n", pretty(*end));
  } else {
    const auto data = crypto::from_base64(text_of(*end, "data"));
    if (auto ok = write_response(data.value_or(Buffer{})); !ok) return tl::unexpected(ok.error());
  }
  const json& error = (*end)["error"];
  return error.is_object() ? report_failure(error) : 0;
}

Result<int> run_calls(const std::string& state, bool as_json) {
  auto answer = DaemonClient(state).get("/v1/calls");
  if (!answer) return tl::unexpected(answer.error());
  if (as_json) {
    fmt::print("{}\n", pretty(*answer));
    return 0;
  }
  const json& calls = (*answer)["calls"];
  if (calls.empty()) {
    fmt::print("no calls yet\n");
    return 0;
  }
  fmt::print("{} {} {} {} {} {} {} {}\n", padded("TRACE", 32), padded("WAY", 3), padded("PEER", 20),
             padded("CAPABILITY", 16), padded("STATE", 24), padded("SENT", 10),
             padded("RECEIVED", 10), "TOOK");
  for (const json& c : calls) {
    const std::string name = text_of(c, "name");
    const std::string outcome = text_of(c, "outcome");
    std::string what = outcome.empty() ? text_of(c, "state") : outcome;
    if (outcome == "denied") what = text_of(c, "decision");
    if (outcome == "failed") what = fmt::format("failed: {}", c.value("status", 0u));
    fmt::print("{} {} {} {} {} {} {} {}\n", text_of(c, "trace"), padded(text_of(c, "direction"), 3),
               padded(printable(name.empty() ? text_of(c, "peer").substr(0, 20) : name), 20),
               padded(text_of(c, "capability"), 16), padded(what, 24),
               padded(std::to_string(c.value("bytes_sent", uint64_t{0})), 10),
               padded(std::to_string(c.value("bytes_received", uint64_t{0})), 10),
               duration_text(c["ms"].value("total", uint64_t{0})));
  }
  return 0;
}

}  // namespace sluice::agent
