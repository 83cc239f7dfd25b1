#include "control/store_files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

namespace sluice::control {

tl::unexpected<Error> system_error(const char* what, const std::string& path) {
  const int e = errno;
  const ErrorCode code =
      e == EACCES || e == EPERM || e == EROFS ? ErrorCode::kPermission : ErrorCode::kStore;
  return fail(code, fmt::format("cannot {} {}: {}", what, path, std::strerror(e)));
}

Result<Fd> lock_directory(const std::string& directory) {
  const std::string path = directory + "/lock";
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return system_error("write in the state directory", directory);
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno == EWOULDBLOCK) {
    return fail(ErrorCode::kConflict,
                fmt::format("the state directory {} is in use by another relay: stop that one, or "
                            "give this one a directory of its own",
                            directory));
  }
  return system_error("lock", path);
}

Result<void> sync_folders_of(const std::string& path) {
  std::error_code ec;
  auto folder = std::filesystem::absolute(path, ec).parent_path();
  for (bool first = true;; first = false, folder = folder.parent_path()) {
    const Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (first && (!fd || fsync(fd.get()) != 0)) return system_error("sync", folder.string());
    if (!first && fd) fsync(fd.get());
    if (folder == folder.parent_path()) return {};
  }
}

std::string store_path(const std::string& directory) {
  std::string folder = directory;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  return folder + "/sluice.db";
}

std::string restore_marker(const std::string& directory) {
  return store_path(directory) + ".restoring";
}

bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

std::string later_key_path(const std::string& directory, const ByteArray<32>& public_key) {
  std::string name = directory + "/tunnel-";
  for (size_t i = 0; i < 8; ++i) name += fmt::format("{:02x}", public_key[i]);
  return name + ".key";
}

}  // namespace sluice::control
