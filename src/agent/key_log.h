// Where `sluice-agent up --keylog FILE` writes the keys of its sessions, for whoever is to read a
// capture of them (docs/capture.md). Off unless asked for: the file undoes all secrecy of what it
// covers. One write(2) for each handshake, in two minutes and for each peer; the daemon's thread.
#pragma once

#include <string>

#include "agent/report.h"
#include "base/file.h"
#include "crypto/key_log.h"

namespace sluice::agent {

class KeyLog {
 public:
  // Appends to a regular file of this user's alone, mode 0600, and makes it where there is none.
  // kPermission: somebody else's, or open to others. kKeyFile: a link, a pipe, a second name.
  static Result<KeyLog> open(const std::string& path);

  const std::string& path() const { return path_; }
  // An error is reported and the agent goes on; the entry is lost.
  void write(const crypto::KeyLogEntry& entry, const Report& report);

 private:
  KeyLog(std::string path, Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  Fd fd_;
  bool torn_ = false;  // the last line has no end
};

}  // namespace sluice::agent
