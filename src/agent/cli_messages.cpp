// send, recv and ping: what they ask of the daemon and what they print.
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

#include "agent/cli.h"
#include "agent/daemon_client.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr size_t kBatchMessages = 512;
constexpr size_t kBatchBytes = 1u << 20;
constexpr milliseconds kSendTimeout{30'000};
constexpr uint64_t kRecvBatch = 1'024;

double seconds_since(steady_clock::time_point then) {
  return duration<double>(steady_clock::now() - then).count();
}

// A line that is overwritten, on a terminal, for work that takes longer than 2 s.
class Progress {
 public:
  void show(uint64_t done, const std::string& of) {
    if (!terminal_ || seconds_since(started_) < 2 || seconds_since(shown_) < 0.2) return;
    shown_ = steady_clock::now();
    fmt::print(stderr, "\r{}{} messages", done, of);
    std::fflush(stderr);
    visible_ = true;
  }
  ~Progress() {
    if (visible_) std::fputs("\r\x1b[K", stderr);
  }

 private:
  bool terminal_ = isatty(STDERR_FILENO) != 0;
  bool visible_ = false;
  steady_clock::time_point started_ = steady_clock::now();
  steady_clock::time_point shown_ = started_;
};

// Messages go to the daemon in batches, no faster than the rate.
class Sender {
 public:
  Sender(const std::string& state, const SendCommand& command) : client_(state), command_(command) {
    if (command.rate > 0) {
      batch_ = std::clamp<size_t>(size_t(command.rate / 50), 1, kBatchMessages);
    }
  }

  Result<void> add(std::string_view message) {
    bytes_ += message.size();
    waiting_.push_back(crypto::to_base64(as_bytes(message)));
    if (waiting_.size() < batch_ && bytes_ < kBatchBytes) return {};
    return flush();
  }

  Result<void> flush() {
    if (waiting_.empty()) return {};
    if (command_.rate > 0) {
      std::this_thread::sleep_until(started_ +
                                    std::chrono::duration_cast<steady_clock::duration>(
                                        duration<double>(double(sent_) / command_.rate)));
    }
    const uint64_t n = waiting_.size();
    const json body = {{"peer", command_.peer}, {"messages", std::move(waiting_)}};
    waiting_ = json::array();
    bytes_ = 0;
    auto answer = client_.post("/v1/messages", body, kSendTimeout);
    if (!answer && sent_ > 0) {
      answer.error().message = fmt::format("after {} messages: {}", sent_, answer.error().message);
    }
    if (!answer) return tl::unexpected(answer.error());
    sent_ += n;
    progress_.show(sent_, command_.count ? fmt::format(" of {}", *command_.count) : "");
    return {};
  }

  uint64_t sent() const { return sent_; }
  double seconds() const { return seconds_since(started_); }

 private:
  DaemonClient client_;
  const SendCommand& command_;
  steady_clock::time_point started_ = steady_clock::now();
  json waiting_ = json::array();
  size_t bytes_ = 0;
  size_t batch_ = kBatchMessages;
  uint64_t sent_ = 0;
  Progress progress_;
};

std::string numbered(const std::string& message, uint64_t number) {
  std::string out = message;
  const std::string digits = std::to_string(number);
  for (size_t at = out.find("{}"); at != std::string::npos;
       at = out.find("{}", at + digits.size())) {
    out.replace(at, 2, digits);
  }
  return out;
}

// Each line as soon as it is there; what one read brings goes in one batch.
Result<void> send_lines(Sender& sender) {
  std::string pending;
  char chunk[65536];
  for (;;) {
    const ssize_t n = read(STDIN_FILENO, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(ErrorCode::kUsage, "standard input cannot be read");
    if (n == 0) break;
    pending.append(chunk, size_t(n));
    size_t begin = 0;
    for (size_t end; (end = pending.find('\n', begin)) != std::string::npos; begin = end + 1) {
      if (auto ok = sender.add(std::string_view(pending).substr(begin, end - begin)); !ok)
        return ok;
    }
    pending.erase(0, begin);
    if (auto ok = sender.flush(); !ok) return ok;
  }
  if (!pending.empty()) {
    if (auto ok = sender.add(pending); !ok) return ok;
  }
  return sender.flush();
}

void print_message(const json& m, bool as_json) {
  const auto data = crypto::from_base64(m.value("data", ""));
  if (as_json) {
    fmt::print("{}\n", m.dump(-1, ' ', false, json::error_handler_t::replace));
  } else if (data) {
    const std::string text(as_text(*data));
    fmt::print("{}\n", isatty(STDOUT_FILENO) != 0 ? printable(text) : text);
  }
}

}  // namespace

Result<int> run_send(const std::string& state, const SendCommand& command) {
  Sender sender(state, command);
  if (!command.message) {
    if (auto ok = send_lines(sender); !ok) return tl::unexpected(ok.error());
  } else {
    for (uint64_t i = 1; i <= command.count.value_or(1); ++i) {
      auto ok = sender.add(command.count ? numbered(*command.message, i) : *command.message);
      if (!ok) return tl::unexpected(ok.error());
    }
    if (auto ok = sender.flush(); !ok) return tl::unexpected(ok.error());
  }
  fmt::print(stderr, "sent {} message{} to {} in {:.3f} s\n", sender.sent(),
             sender.sent() == 1 ? "" : "s", printable(command.peer), sender.seconds());
  return 0;
}

Result<int> run_recv(const std::string& state, const RecvCommand& command) {
  DaemonClient client(state);
  Progress progress;
  const auto started = steady_clock::now();
  uint64_t received = 0, bytes = 0, dropped = 0;
  bool timed_out = false;
  std::optional<steady_clock::time_point> first;
  while (!command.count || received < *command.count) {
    uint64_t wait = kLongPollMs;
    if (command.timeout_s) {
      const double left = *command.timeout_s - seconds_since(started);
      timed_out = left <= 0;
      if (timed_out) break;
      wait = std::min<uint64_t>(wait, uint64_t(std::ceil(left * 1000)));
    }
    const uint64_t most =
        command.count ? std::min(kRecvBatch, *command.count - received) : kRecvBatch;
    auto answer = client.get(fmt::format("/v1/messages?max={}&wait_ms={}", most, wait),
                             milliseconds(wait + 10'000));
    if (!answer) return tl::unexpected(answer.error());
    dropped += answer->value("dropped", uint64_t{0});
    for (const json& m : (*answer)["messages"]) {
      if (!first) first = steady_clock::now();
      ++received;
      bytes += m.value("data", "").size() / 4 * 3;
      if (!command.quiet) print_message(m, command.json);
    }
    std::fflush(stdout);
    if (command.quiet) progress.show(received, "");
  }
  if (command.quiet) {
    const double took = first ? seconds_since(*first) : 0;
    const json summary = {{"received", received}, {"dropped", dropped}, {"seconds", took}};
    if (command.json) {
      fmt::print("{}\n", summary.dump());
    } else {
      fmt::print("received {} messages, about {} bytes, in {:.3f} s; {} dropped\n", received, bytes,
                 took, dropped);
    }
  }
  if (!timed_out || (!command.count && received > 0)) return 0;
  return fail(ErrorCode::kTimeout,
              command.count ? fmt::format("{} of {} messages came within {} s", received,
                                          *command.count, *command.timeout_s)
                            : fmt::format("no message came within {} s", *command.timeout_s));
}

Result<int> run_ping(const std::string& state, const PingCommand& command) {
  const json body = {{"peer", command.peer},
                     {"count", command.count},
                     {"interval_us", uint64_t(command.interval_s * 1e6)},
                     {"window", command.window},
                     {"size", command.size},
                     {"timeout_ms", uint64_t(std::max(1.0, command.timeout_s * 1000))}};
  // No tighter bound is known for a run that its window holds back.
  const double longest =
      double(command.count) * std::max(command.interval_s, command.timeout_s) + 60;
  auto answer = DaemonClient(state).post("/v1/ping", body,
                                         milliseconds(int64_t(std::min(longest, 1e6) * 1000)));
  if (!answer) return tl::unexpected(answer.error());
  const uint64_t received = answer->value("received", uint64_t{0});
  if (command.json) {
    fmt::print("{}\n", pretty(*answer));
  } else {
    fmt::print("{} sent, {} answered, {} lost\n", answer->value("sent", uint64_t{0}), received,
               answer->value("lost", uint64_t{0}));
    if (received > 0) {
      const json& r = (*answer)["rtt_us"];
      fmt::print(
          "round trip in us: min {:.0f}  p50 {:.0f}  p90 {:.0f}  p99 {:.0f}  p99.9 {:.0f}  "
          "max {:.0f}\n",
          r.value("min", 0.0), r.value("p50", 0.0), r.value("p90", 0.0), r.value("p99", 0.0),
          r.value("p99.9", 0.0), r.value("max", 0.0));
    }
  }
  if (received > 0) return 0;
  return fail(ErrorCode::kTimeout,
              fmt::format("{} answered none of the pings", printable(command.peer)));
}

}  // namespace sluice::agent
