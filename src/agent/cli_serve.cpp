// serve: a program, or an echo, for each call that a peer makes.
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include <fmt/format.h>

#include "agent/call_end.h"
#include "agent/cli.h"
#include "agent/daemon_client.h"
#include "agent/program.h"
#include "agent/whole_message.h"
#include "base/duration.h"
#include "crypto/secret.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kRetry{1'000};
constexpr milliseconds kAnswerTimeout{30'000};

// Programs that run now: ended with this one.
class Running {
 public:
  void note(pid_t pid, bool runs) {
    const std::lock_guard lock(mutex_);
    if (runs) {
      groups_.insert(pid);
    } else {
      groups_.erase(pid);
    }
  }
  void kill_all() {
    const std::lock_guard lock(mutex_);
    for (const pid_t pid : groups_) kill(-pid, SIGKILL);
  }

 private:
  std::mutex mutex_;
  std::set<pid_t> groups_;
};

// The calls that are with a program, each with what tells it to stop.
class Cancels {
 public:
  std::shared_ptr<Fd> add(const std::string& call) {
    const std::lock_guard lock(mutex_);
    auto event = std::make_shared<Fd>(eventfd(0, EFD_CLOEXEC));
    events_[call] = event;
    return event;
  }
  void remove(const std::string& call) {
    const std::lock_guard lock(mutex_);
    events_.erase(call);
  }
  void cancel(const std::string& call) {
    const std::lock_guard lock(mutex_);
    const auto it = events_.find(call);
    if (it != events_.end()) eventfd_write(it->second->get(), 1);
  }
  void cancel_all() {
    const std::lock_guard lock(mutex_);
    for (const auto& [call, event] : events_) eventfd_write(event->get(), 1);
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Fd>> events_;
};

struct Shared {
  std::string state, server;
  ServeCommand command;
  milliseconds limit;
  Running running;
  Cancels cancels;
  std::mutex output;  // one line at a time
};

uint16_t status_of(const Result<ProgramResult>& r) {
  if (!r) return uint16_t(CallStatus::kNotStarted);
  switch (r->end) {
    case ProgramEnd::kExited:
      return static_cast<uint16_t>(r->number);
    case ProgramEnd::kSignalled:
      return static_cast<uint16_t>(kSignalStatus + r->number);
    case ProgramEnd::kTimeout:
      return uint16_t(CallStatus::kProgramTimeout);
    case ProgramEnd::kTooMuch:
      return uint16_t(CallStatus::kResponseTooLarge);
    case ProgramEnd::kCancelled:
      break;
  }
  return uint16_t(CallStatus::kCancelled);
}

// What the program may know about its call. All of it comes from the peer, or is about it.
std::vector<std::string> environment_of(const json& call) {
  std::vector<std::string> out;
  const auto add = [&](const char* name, const std::string& value) {
    out.push_back(fmt::format("SLUICE_{}={}", name, value));
  };
  add("CALLER", call.value("from", ""));
  add("CALLER_NAME", call.value("name", ""));
  add("CALLER_ADDRESS", call.value("address", ""));
  add("CALLER_VERIFIED", call.value("verified", false) ? "1" : "0");
  add("TRACE", call.value("trace", ""));
  add("IDEMPOTENCY_KEY", call.value("idempotency_key", ""));
  add("CAPABILITY", call.value("capability", ""));
  add("PROTOCOL", call.value("protocol", ""));
  add("SERVICE", std::to_string(call.value("service", 0u)));
  std::string scopes;
  for (const json& s : call["scopes"]) scopes += (scopes.empty() ? "" : " ") + s.get<std::string>();
  add("SCOPES", scopes);
  return out;
}

void report_call(Shared& shared, const json& call, uint16_t status, size_t in, size_t out,
                 double seconds, const std::string& why) {
  const std::lock_guard lock(shared.output);
  if (shared.command.json) {
    json line = call;
    line.erase("data");
    line["status"] = status;
    line["bytes_received"] = in;
    line["bytes_sent"] = out;
    line["seconds"] = seconds;
    fmt::print("{}\n", line.dump(-1, ' ', false, json::error_handler_t::replace));
    std::fflush(stdout);
    return;
  }
  const std::string name = call.value("name", "");
  fmt::print(stderr, "call {} of {}: {}, {} bytes in, {} out, {:.3f} s\n", call.value("trace", ""),
             printable(name.empty() ? call.value("from", "") : name),
             why.empty() ? fmt::format("status {}", status) : why, in, out, seconds);
}

void serve_one(Shared& shared, const json& call, const std::shared_ptr<Fd>& cancelled) {
  const auto began = steady_clock::now();
  const std::string id = call.value("call", "");
  const Buffer input = crypto::from_base64(call.value("data", "")).value_or(Buffer{});
  uint16_t status = 0;
  std::string why;
  Buffer output;
  if (shared.command.echo) {
    output = input;
  } else {
    auto result = run_program({shared.command.program, environment_of(call), input, shared.limit,
                               kMostMessage, cancelled->get(),
                               [&](pid_t pid, bool runs) { shared.running.note(pid, runs); }});
    status = status_of(result);
    if (!result) why = result.error().message;
    if (result) output = std::move(result->output);
  }
  shared.cancels.remove(id);
  DaemonClient client(shared.state);
  const auto answered = client.post("/v1/serve/answer",
                                    {{"server", shared.server},
                                     {"call", id},
                                     {"status", status},
                                     {"data", crypto::to_base64(output)}},
                                    kAnswerTimeout);
  if (!answered && why.empty()) why = fmt::format("not delivered: {}", answered.error().message);
  const double took = std::chrono::duration<double>(steady_clock::now() - began).count();
  report_call(shared, call, status, input.size(), output.size(), took, why);
}

// SIGINT and SIGTERM go to one thread, which ends the programs, too.
void end_with_programs(const std::shared_ptr<Shared>& shared) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  std::thread([shared, ends] {
    int got = 0;
    sigwait(&ends, &got);
    shared->running.kill_all();
    _exit(0);
  }).detach();
}

}  // namespace

Result<int> run_serve(const std::string& state, const ServeCommand& command) {
  if (command.echo == !command.program.empty()) {
    return fail(ErrorCode::kUsage, "give either --exec COMMAND… or --echo; see: serve --help");
  }
  const auto limit = parse_duration_s(command.limit);
  if (!limit || *limit == 0 || *limit > 3'600) {
    return fail(ErrorCode::kUsage,
                fmt::format("--limit {} is not a time from 1s to 1h", printable(command.limit)));
  }
  const auto shared = std::make_shared<Shared>();
  shared->state = state;
  shared->server = fmt::format("{:016x}", crypto::random_u64());
  shared->command = command;
  shared->limit = std::chrono::seconds(*limit);
  end_with_programs(shared);
  DaemonClient client(state);
  const auto question = [&](uint64_t wait) {
    return client.get(fmt::format("/v1/serve?server={}&slots={}&wait_ms={}", shared->server,
                                  command.parallel, wait),
                      milliseconds(wait + 10'000));
  };
  auto answer = question(0);
  if (!answer) return tl::unexpected(answer.error());
  fmt::print(stderr, "serving calls, at most {} at a time\n", command.parallel);
  bool away = false;
  for (;;) {
    if (!answer) {
      // The daemon has ended, and with it every call: a new one may come.
      shared->cancels.cancel_all();
      if (!away) fmt::print(stderr, "{}; waiting for it\n", answer.error().message);
      away = true;
      std::this_thread::sleep_for(kRetry);
      answer = question(0);
      continue;
    }
    if (std::exchange(away, false)) fmt::print(stderr, "serving calls again\n");
    for (const json& id : (*answer)["cancelled"]) shared->cancels.cancel(id.get<std::string>());
    for (json& call : (*answer)["calls"]) {
      auto cancelled = shared->cancels.add(call.value("call", ""));
      std::thread([shared, call = std::move(call), cancelled] {
        serve_one(*shared, call, cancelled);
      }).detach();
    }
    answer = question(kLongPollMs);
  }
}

}  // namespace sluice::agent
