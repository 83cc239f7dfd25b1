#include "http/unix_listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace sluice::http {
namespace {

// The kernel caps it at net.core.somaxconn.
constexpr int kBacklog = 4096;

// The socket is bound under this name beside its own, and renamed when it is ready.
constexpr std::string_view kNewSuffix = ".new";

tl::unexpected<Error> system_error(const char* what, const std::string& path) {
  const int e = errno;
  const bool denied = e == EACCES || e == EPERM || e == EROFS;
  return fail(denied ? ErrorCode::kPermission : ErrorCode::kResource,
              fmt::format("cannot {} the socket {}: {}", what, path, std::strerror(e)));
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// A name that goes away with the object.
struct TemporaryName {
  std::string path;
  bool keep = false;
  ~TemporaryName() {
    if (!keep) unlink(path.c_str());
  }
};

// Held while a process looks at the name and takes it: of two that find the same stale socket,
// the second must not replace the fresh one of the first. Only its owner can open the file, so
// nobody else can keep a server from starting.
class StartLock {
 public:
  static Result<StartLock> take(const std::string& path, const std::string& service) {
    StartLock lock(path + ".lock");
    lock.fd_ = Fd(open(lock.path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!lock.fd_) return system_error("take the lock beside", path);
    struct stat held {};
    struct stat named {};
    // The previous holder removes the name last: a lock on a nameless file is none.
    lock.held_ = flock(lock.fd_.get(), LOCK_EX | LOCK_NB) == 0 &&
                 fstat(lock.fd_.get(), &held) == 0 && lstat(lock.path_.c_str(), &named) == 0 &&
                 held.st_dev == named.st_dev && held.st_ino == named.st_ino;
    if (lock.held_) return lock;
    return fail(ErrorCode::kConflict,
                fmt::format("another {} is just starting on {}", service, path));
  }
  StartLock(StartLock&& other) noexcept
      : path_(std::move(other.path_)),
        fd_(std::move(other.fd_)),
        held_(std::exchange(other.held_, false)) {}
  StartLock& operator=(StartLock&&) = delete;
  ~StartLock() {
    if (held_) unlink(path_.c_str());
  }

 private:
  explicit StartLock(std::string path) : path_(std::move(path)) {}

  std::string path_;
  Fd fd_;
  bool held_ = false;
};

// Nobody listens on a stale socket. Anything but a plain refusal counts as life.
Result<void> require_stale(const std::string& path, const struct stat& st,
                           const std::string& service) {
  if (!S_ISSOCK(st.st_mode)) {
    return fail(
        ErrorCode::kConflict,
        fmt::format("{} exists and is not a socket: move it away or set another path", path));
  }
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return system_error("probe", path);
  const sockaddr_un address = address_of(path);
  const int rc = connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (rc != 0 && errno == ECONNREFUSED) return {};
  if (rc != 0 && errno == EACCES) return system_error("probe", path);
  return fail(ErrorCode::kConflict,
              fmt::format("another {} is already listening on {}", service, path));
}

}  // namespace

Result<UnixListener> UnixListener::listen(const std::string& path, mode_t mode,
                                          std::optional<gid_t> group, const std::string& service) {
  constexpr size_t kLimit = sizeof(sockaddr_un::sun_path) - 1 - kNewSuffix.size();
  if (path.empty() || path.size() > kLimit || path.find('\0') != std::string::npos) {
    return fail(ErrorCode::kConfig,
                fmt::format("the socket path \"{}\" must have 1 to {} bytes", path, kLimit));
  }
  const auto lock = StartLock::take(path, service);
  if (!lock) return tl::unexpected(lock.error());

  struct stat st {};
  const bool stale = lstat(path.c_str(), &st) == 0;
  if (stale) {
    if (auto checked = require_stale(path, st, service); !checked) {
      return tl::unexpected(checked.error());
    }
  }
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error("create", path);
  const std::string fresh = path + std::string(kNewSuffix);
  // Left by a start that was cut short.
  if (lstat(fresh.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) unlink(fresh.c_str());
  const sockaddr_un address = address_of(fresh);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error("create", path);
  }
  TemporaryName name{.path = fresh};

  // Until listen() the kernel refuses every connection, so neither order nor umask opens a gap.
  if (group && fchownat(AT_FDCWD, fresh.c_str(), uid_t(-1), *group, AT_SYMLINK_NOFOLLOW) != 0) {
    return system_error("set the group of", path);
  }
  if (fchmodat(AT_FDCWD, fresh.c_str(), mode, AT_SYMLINK_NOFOLLOW) != 0) {
    return system_error("set the mode of", path);
  }
  if (lstat(fresh.c_str(), &st) != 0) return system_error("examine", path);
  if (::listen(fd.get(), kBacklog) != 0) return system_error("listen on", path);
  if (renameat2(AT_FDCWD, fresh.c_str(), AT_FDCWD, path.c_str(), stale ? 0 : RENAME_NOREPLACE) !=
      0) {
    return system_error("name", path);
  }
  name.keep = true;
  return UnixListener(std::move(fd), path, st.st_dev, st.st_ino);
}

UnixListener::~UnixListener() {
  // While the socket still listens no successor takes the name over, so the check holds.
  struct stat st {};
  if (fd_ && lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_) {
    unlink(path_.c_str());
  }
}

}  // namespace sluice::http
