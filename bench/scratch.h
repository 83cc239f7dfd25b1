// A temporary folder on a disk, and what file system that is. Removed with all that is in it.
#pragma once

#include <string>
#include <utility>

#include "base/error.h"

namespace sluice::bench {

class Scratch {
 public:
  // Below `parent`, under a name of its own.
  static Result<Scratch> create(const std::string& parent);
  ~Scratch();
  Scratch(Scratch&& o) noexcept : path_(std::exchange(o.path_, {})) {}
  Scratch& operator=(Scratch&&) = delete;

  const std::string& path() const { return path_; }
  // "ext4 on /dev/vda".
  std::string file_system() const;
  bool in_memory() const;  // tmpfs: its syncs cost nothing

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace sluice::bench
