#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

namespace sluice {
namespace {

tl::unexpected<Error> io_error(const std::string& what, const std::string& path) {
  const int e = errno;
  const ErrorCode code = e == EACCES || e == EPERM ? ErrorCode::kPermission
                         : e == ENOENT             ? ErrorCode::kNotFound
                                                   : ErrorCode::kResource;
  return fail(code, fmt::format("{} {}: {}", what, path, std::strerror(e)));
}

Result<std::string> read_all(int fd, const std::string& path, size_t limit) {
  std::string out;
  char chunk[16384];
  for (;;) {
    const ssize_t n = read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("cannot read", path);
    if (n == 0) return out;
    if (out.size() + size_t(n) > limit) {
      return fail(ErrorCode::kTooLarge, fmt::format("{} is larger than {} bytes", path, limit));
    }
    out.append(chunk, size_t(n));
  }
}

}  // namespace

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Result<std::string> read_file(const std::string& path, size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return io_error("cannot open", path);
  return read_all(fd.get(), path, limit);
}

Result<std::string> read_secret_file(const std::string& path, size_t limit) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return io_error("cannot open", path);
  struct stat st {};
  if (fstat(fd.get(), &st) != 0) return io_error("cannot stat", path);
  if (!S_ISREG(st.st_mode)) {
    return fail(ErrorCode::kKeyFile, fmt::format("{} is not a regular file", path));
  }
  if ((st.st_mode & 077) != 0) {
    return fail(ErrorCode::kPermission,
                fmt::format("{} can be read by others (mode {:04o}); run: chmod 600 {}", path,
                            unsigned{st.st_mode & 07777}, path));
  }
  return read_all(fd.get(), path, limit);
}

bool write_all(const Fd& fd, Bytes content) {
  while (!content.empty()) {
    const ssize_t n = write(fd.get(), content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    content = content.subspan(static_cast<size_t>(n));
  }
  return true;
}

Result<void> write_file(const std::string& path, Bytes content, mode_t mode) {
  const std::string temporary = fmt::format("{}.{}.new", path, getpid());
  {
    const Fd fd(
        open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd) return io_error("cannot create", temporary);
    if (!write_all(fd, content)) {
      auto e = io_error("cannot write", temporary);
      unlink(temporary.c_str());
      return e;
    }
    if (fchmod(fd.get(), mode) != 0 || fsync(fd.get()) != 0) {
      auto e = io_error("cannot sync", temporary);
      unlink(temporary.c_str());
      return e;
    }
  }
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    auto e = io_error("cannot rename to", path);
    unlink(temporary.c_str());
    return e;
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const Fd dir(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Without it the name may lead to what was there before; some file systems have no such call.
  if (dir && fsync(dir.get()) != 0 && errno != EINVAL) return io_error("cannot sync", folder);
  return {};
}

Result<void> make_folder(const std::string& path, mode_t mode) {
  std::error_code ec;
  const auto parent = std::filesystem::path(path).parent_path();
  if (!parent.empty()) std::filesystem::create_directories(parent, ec);
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) return io_error("cannot create", path);
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return io_error("cannot stat", path);
  if (!S_ISDIR(st.st_mode)) {
    return fail(ErrorCode::kConflict, fmt::format("{} exists and is not a folder", path));
  }
  return {};
}

}  // namespace sluice
