#include "crypto/secret_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

namespace sluice::crypto {
namespace {

tl::unexpected<Error> secret_error(const char* what, const std::string& path) {
  const int e = errno;
  const ErrorCode code = e == EACCES || e == EPERM ? ErrorCode::kPermission
                         : e == ENOENT             ? ErrorCode::kNotFound
                                                   : ErrorCode::kResource;
  return fail(code, fmt::format("cannot {} {}: {}", what, path, std::strerror(e)));
}

}  // namespace

Result<SecretBuffer> read_secret_from(const Fd& fd, const std::string& place, size_t limit) {
  SecretBuffer out(limit + 1);
  size_t size = 0;
  while (size <= limit) {
    const ssize_t n = read(fd.get(), out.data() + size, limit + 1 - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return secret_error("read", place);
    if (n == 0) {
      out.shrink(size);
      return out;
    }
    size += static_cast<size_t>(n);
  }
  return fail(ErrorCode::kTooLarge, fmt::format("{} has more than {} bytes", place, limit));
}

Result<SecretBuffer> read_secret(const std::string& path, size_t limit) {
  // A pipe's open would wait for its writer.
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!fd) return secret_error("open", path);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return secret_error("read", path);
  if (!S_ISREG(st.st_mode)) {
    return fail(ErrorCode::kKeyFile, fmt::format("{} is not a regular file", path));
  }
  if ((st.st_mode & 077) != 0) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} can be read by others (mode {:04o}); run: chmod 600 {}", path,
                            unsigned{st.st_mode & 07777}, path));
  }
  return read_secret_from(fd, path, limit);
}

}  // namespace sluice::crypto
