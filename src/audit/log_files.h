// The names in a log's folder. Any thread.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/stat.h>

#include <fmt/format.h>

#include "base/error.h"

namespace sluice::audit {

inline tl::unexpected<Error> io_error(const char* what, const std::string& path) {
  return fail(ErrorCode::kStore,
              fmt::format("cannot {} the audit log's {}: {}", what, path, strerror(errno)));
}

inline std::string journal_folder(const std::string& folder) {
  return folder + "/journal";
}
inline std::string journal_path(const std::string& folder, uint64_t base) {
  return fmt::format("{}/{:020}", journal_folder(folder), base);
}

inline bool exists(const std::string& path) {
  struct stat st {};
  return lstat(path.c_str(), &st) == 0;
}

// Those of complete names, the newest first.
inline std::vector<std::string> journals_in(const std::string& folder) {
  std::vector<std::string> out;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator(journal_folder(folder), ec)) {
    const std::string name = entry.path().filename().string();
    const bool digits =
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (name.size() == 20 && digits) out.push_back(entry.path().string());
  }
  std::sort(out.rbegin(), out.rend());
  return out;
}

}  // namespace sluice::audit
