#include "agent/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::agent {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Pipe {
  Fd read, write;
};

Result<Pipe> make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    return fail(ErrorCode::kResource, fmt::format("no pipe: {}", std::strerror(errno)));
  }
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

void make_nonblocking(const Fd& fd) {
  fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

// With `in` and `out` as its standard input and output, in a group of its own, with signals as a
// shell would leave them.
Result<pid_t> spawn(const ProgramRun& run, const Fd& in, const Fd& out) {
  std::vector<std::string> environment = run.environment;
  for (char** e = environ; *e != nullptr; ++e) environment.emplace_back(*e);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.get(), STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  const int error = posix_spawnp(&pid, run.argv[0].c_str(), &actions, &attributes,
                                 pointers(run.argv).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return pid;
  return fail(ErrorCode::kUsage,
              fmt::format("{} cannot be started: {}", run.argv[0], std::strerror(error)));
}

// False: the program reads no more, or has it all.
bool feed(const Fd& to, Bytes& input) {
  while (!input.empty()) {
    const ssize_t n = write(to.get(), input.data(), input.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    input = input.subspan(size_t(n));
  }
  return false;
}

// False: it has closed its output, or said more than `most`.
bool drain(const Fd& from, Buffer& output, size_t most) {
  uint8_t chunk[65'536];
  while (output.size() <= most) {
    const ssize_t n = read(from.get(), chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    output.insert(output.end(), chunk, chunk + n);
  }
  return false;
}

}  // namespace

Result<ProgramResult> run_program(const ProgramRun& run) {
  auto in = make_pipe();
  if (!in) return tl::unexpected(in.error());
  auto out = make_pipe();
  if (!out) return tl::unexpected(out.error());
  const auto pid = spawn(run, in->read, out->write);
  if (!pid) return tl::unexpected(pid.error());
  if (run.note) run.note(*pid, true);
  // Debian 12's <sys/pidfd.h> declares pidfd_open for C alone.
  const Fd ended(int(syscall(SYS_pidfd_open, *pid, 0)));
  in->read = Fd();
  out->write = Fd();
  make_nonblocking(in->write);
  make_nonblocking(out->read);

  ProgramResult result;
  Bytes input = run.input;
  bool feeding = true, reading = true, over = !ended;
  std::optional<ProgramEnd> stopped;
  const auto until = steady_clock::now() + run.limit;
  while (!over && !stopped) {
    if (feeding && !feed(in->write, input)) {
      feeding = false;
      in->write = Fd();
    }
    pollfd fds[] = {{ended.get(), POLLIN, 0},
                    {run.cancelled, POLLIN, 0},
                    {reading ? out->read.get() : -1, POLLIN, 0},
                    {feeding ? in->write.get() : -1, POLLOUT, 0}};
    const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now()).count();
    if (left <= 0) stopped = ProgramEnd::kTimeout;
    if (poll(fds, 4, int(std::clamp<int64_t>(left, 0, 60'000))) < 0 && errno != EINTR) break;
    if (reading && fds[2].revents != 0) reading = drain(out->read, result.output, run.most_output);
    if (result.output.size() > run.most_output) stopped = ProgramEnd::kTooMuch;
    if (fds[1].revents != 0) stopped = ProgramEnd::kCancelled;
    over = fds[0].revents != 0;
  }
  // What it has said before its end is in the pipe by now.
  if (over && reading) drain(out->read, result.output, run.most_output);
  if (result.output.size() > run.most_output) stopped = ProgramEnd::kTooMuch;
  // Before it is waited for, so that the group's number is still its own.
  if (run.note) run.note(*pid, false);
  kill(-*pid, SIGKILL);
  int status = 0;
  while (waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (stopped) {
    result.end = *stopped;
    result.output.clear();
  } else if (WIFSIGNALED(status)) {
    result.end = ProgramEnd::kSignalled;
    result.number = WTERMSIG(status);
  } else {
    result.number = WEXITSTATUS(status);
  }
  return result;
}

}  // namespace sluice::agent
