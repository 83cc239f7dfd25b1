#include "pktgen/console.h"

#include <poll.h>
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

#include "pktgen/fleet.h"

namespace sluice::pktgen {
namespace {

// Sessions are renewed meanwhile.
void serve_until_line(Fleet& fleet) {
  pollfd in{STDIN_FILENO, POLLIN, 0};
  char c = 0;
  while (!interrupted() && c != '\n') {
    if (::poll(&in, 1, 0) > 0 && read(STDIN_FILENO, &c, 1) <= 0) return;
    fleet.serve();
  }
}

}  // namespace

Console::Console(const Clock& clock)
    : clock_(clock), terminal_(isatty(STDERR_FILENO) != 0), begin_(clock.ticks()) {}

void Console::progress(const std::string& line) {
  const uint64_t now = clock_.ticks();
  if (now < next_ || line.empty()) return;
  next_ = now + clock_.ticks_from_ms(terminal_ ? 1000 : 5000);
  if (terminal_) {
    fmt::print(stderr, "\r\x1b[K{}", line);
    std::fflush(stderr);
    open_ = true;
  } else {
    fmt::print(stderr, "{}\n", line);
  }
}

void Console::finish_progress() {
  if (open_) fmt::print(stderr, "\r\x1b[K");
  open_ = false;
  next_ = 0;
}

void Console::connecting(const Connector& connector, uint32_t agents) {
  const double seconds = clock_.us_from_ticks(clock_.ticks() - begin_) / 1e6;
  const double rate = seconds > 0 ? connector.up() / seconds : 0;
  progress(fmt::format(
      "{} of {} agents connected, {:.0f} a second{}", connector.up(), agents, rate,
      rate > 0 ? fmt::format(", {:.0f} s to go", (agents - connector.up()) / rate) : ""));
}

void say_marker(bool wanted, const char* what, const std::string& name) {
  if (!wanted) return;
  fmt::print("{} {}\n", what, name);
  std::fflush(stdout);
}

void say_ready(Fleet& fleet, bool wait) {
  fmt::print("ready\n");
  std::fflush(stdout);
  if (wait) serve_until_line(fleet);
}

void say_done(Fleet& fleet, bool hold) {
  if (!hold) return;
  fmt::print("done\n");
  std::fflush(stdout);
  serve_until_line(fleet);
}

}  // namespace sluice::pktgen
