// Small files: keys, configuration, state. Every error is one sentence with the path.
#pragma once

#include <sys/types.h>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace sluice {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// At most `limit` bytes; a larger file is an error.
Result<std::string> read_file(const std::string& path, size_t limit = 16u << 20);

// Refuses a file that others than its owner can read or write, and one that is not a regular file.
Result<std::string> read_secret_file(const std::string& path, size_t limit = 64u << 10);

// False: errno says why, and a part may be written.
bool write_all(const Fd& fd, Bytes content);

// Durable and atomic: a temporary beside it, fsync, rename, fsync of the folder.
Result<void> write_file(const std::string& path, Bytes content, mode_t mode);

// Creates the folder and its parents; an existing one is fine.
Result<void> make_folder(const std::string& path, mode_t mode);

}  // namespace sluice
