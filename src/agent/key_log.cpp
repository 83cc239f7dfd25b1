#include "agent/key_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::agent {
namespace {

constexpr std::string_view kHead =
    "# Sluice key log: whoever has it can read what this agent says and hears (docs/capture.md)\n";

tl::unexpected<Error> cannot_open(const std::string& path, int e) {
  if (e == ELOOP) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("the key log {} is a symbolic link; name the file itself", path));
  }
  if (e == ENXIO) {
    return fail(ErrorCode::kKeyFile, fmt::format("the key log {} is not a regular file", path));
  }
  const bool refused = e == EACCES || e == EPERM || e == EROFS;
  return fail(refused ? ErrorCode::kPermission : ErrorCode::kResource,
              fmt::format("cannot open the key log {}: {}", path, std::strerror(e)));
}

}  // namespace

Result<KeyLog> KeyLog::open(const std::string& path) {
  // A pipe's open would wait for its reader.
  Fd fd(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
               0600));
  struct stat st {};
  if (!fd || fstat(fd.get(), &st) != 0) return cannot_open(path, errno);
  if (!S_ISREG(st.st_mode)) return cannot_open(path, ENXIO);
  if (st.st_uid != geteuid()) {
    return fail(ErrorCode::kPermission,
                fmt::format("the key log {} belongs to another user (uid {}); name a file of this "
                            "user's, or one that does not exist",
                            path, st.st_uid));
  }
  if ((st.st_mode & 077) != 0) {
    return fail(ErrorCode::kPermission,
                fmt::format("the key log {} can be read or written by others (mode {:04o}); run: "
                            "chmod 600 {}",
                            path, unsigned{st.st_mode & 07777}, path));
  }
  if (st.st_nlink != 1) {
    return fail(ErrorCode::kKeyFile,
                fmt::format("the key log {} has a second name (a hard link); remove it", path));
  }
  if (st.st_size == 0 && !write_all(fd, as_bytes(kHead))) return cannot_open(path, errno);
  return KeyLog(path, std::move(fd));
}

void KeyLog::write(const crypto::KeyLogEntry& entry, const Report& report) {
  const crypto::SecretText line = crypto::key_log_line(entry);
  const bool mended = !torn_ || write_all(fd_, as_bytes("\n"));
  torn_ = !mended || !write_all(fd_, as_bytes(line.view()));
  if (torn_) {
    report(Level::kError,
           fmt::format("the key log {} lacks a session: {}", path_, std::strerror(errno)));
  }
}

}  // namespace sluice::agent
