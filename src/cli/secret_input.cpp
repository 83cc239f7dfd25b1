#include "cli/secret_input.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/file.h"
#include "crypto/secret.h"
#include "crypto/secret_file.h"

namespace sluice::cli {
namespace {

using crypto::SecretBuffer;

// Only the line end that an editor or echo leaves.
Result<SecretBuffer> without_line_end(Result<SecretBuffer> secret) {
  if (!secret) return secret;
  size_t size = secret->size();
  if (size != 0 && secret->data()[size - 1] == '\n') --size;
  if (size != secret->size() && size != 0 && secret->data()[size - 1] == '\r') --size;
  secret->shrink(size);
  return secret;
}

// What is typed is not shown, and shown again whatever happens.
class Silence {
 public:
  explicit Silence(int fd) : fd_(fd), changed_(tcgetattr(fd, &before_) == 0) {
    termios silent = before_;
    silent.c_lflag &= ~tcflag_t{ECHO};
    if (changed_) changed_ = tcsetattr(fd, TCSAFLUSH, &silent) == 0;
  }
  ~Silence() {
    if (changed_) tcsetattr(fd_, TCSAFLUSH, &before_);
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  bool holds() const { return changed_; }

 private:
  int fd_;
  termios before_{};
  bool changed_;
};

Result<SecretBuffer> ask(const Fd& terminal, const std::string& what, size_t limit) {
  const auto say = [&](const std::string& text) { (void)write_all(terminal, as_bytes(text)); };
  const Silence silence(terminal.get());
  if (!silence.holds()) {
    return fail(ErrorCode::kResource, "the terminal would show what is typed: use a file");
  }
  say(what + ": ");
  SecretBuffer out(limit);
  size_t size = 0;
  for (;;) {
    uint8_t c = 0;
    const ssize_t n = read(terminal.get(), &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || c == '\n') break;
    if (size == limit) {
      say("\n");
      return fail(ErrorCode::kTooLarge, fmt::format("at most {} bytes", limit));
    }
    out.data()[size++] = c;
  }
  say("\n");
  out.shrink(size);
  return out;
}

}  // namespace

Result<SecretBuffer> secret_from_file(const std::string& path, size_t limit) {
  if (path == "-") return secret_from_input("standard input", limit);
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0) {
    const ErrorCode code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kPermission;
    return fail(code, fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  }
  if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} can be read by others (mode {:04o}); run: chmod 600 {}", path,
                            unsigned{st.st_mode & 07777}, path));
  }
  return without_line_end(crypto::read_secret_from(fd, path, limit));
}

Result<SecretBuffer> secret_from_input(const std::string& what, size_t limit, bool again) {
  if (isatty(STDIN_FILENO) == 0) {
    const Fd input(fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
    return without_line_end(crypto::read_secret_from(input, "standard input", limit));
  }
  const Fd terminal(open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY));
  if (!terminal) return fail(ErrorCode::kResource, "there is no terminal to ask on: use a file");
  auto secret = ask(terminal, what, limit);
  if (!secret || !again) return secret;
  const auto second = ask(terminal, what + ", again", limit);
  if (!second) return tl::unexpected(second.error());
  if (crypto::equal_secret(secret->view(), second->view())) return secret;
  return fail(ErrorCode::kUsage, "the two are not the same");
}

}  // namespace sluice::cli
