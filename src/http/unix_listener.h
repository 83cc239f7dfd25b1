// A listening Unix stream socket and its name in the file system. The owner of the object owns
// both; the destructor removes the name if it still leads to this socket.
#pragma once

#include <sys/types.h>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/file.h"

namespace sluice::http {

class UnixListener {
 public:
  // The name appears atomically, on a socket that already listens and has its mode and group. A
  // stale socket is replaced; a live one, a symlink and any other file are kConflict and stay.
  static Result<UnixListener> listen(const std::string& path, mode_t mode,
                                     std::optional<gid_t> group, const std::string& service);
  UnixListener(UnixListener&&) noexcept = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();

  // Non-blocking.
  int fd() const { return fd_.get(); }

 private:
  UnixListener(Fd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}

  Fd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

}  // namespace sluice::http
