#include "bench/scratch.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

namespace sluice::bench {

Result<Scratch> Scratch::create(const std::string& parent) {
  std::string name = parent + "/sluice-bench-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    return fail(ErrorCode::kResource,
                fmt::format("cannot make a folder in {}: {}; name another one with --state", parent,
                            std::strerror(errno)));
  }
  return Scratch(std::move(name));
}

Scratch::~Scratch() {
  std::error_code ec;
  if (!path_.empty()) std::filesystem::remove_all(path_, ec);
}

// /proc/self/mounts: device, mount point, type. The longest mount point that leads here; of two
// mounts on the same point the later one counts.
std::string Scratch::file_system() const {
  std::error_code ec;
  const std::string here = std::filesystem::canonical(path_, ec).string() + "/";
  std::ifstream mounts("/proc/self/mounts");
  std::string line, found = "an unknown file system";
  size_t longest = 0;
  while (std::getline(mounts, line)) {
    std::string device, point, type;
    std::istringstream(line) >> device >> point >> type;
    if (point.empty() || point.back() != '/') point += '/';
    if (!here.starts_with(point) || point.size() < longest) continue;
    longest = point.size();
    found = fmt::format("{} on {}", type, device);
  }
  return found;
}

bool Scratch::in_memory() const {
  const std::string fs = file_system();
  return fs.starts_with("tmpfs ") || fs.starts_with("ramfs ");
}

}  // namespace sluice::bench
