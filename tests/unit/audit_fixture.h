// A folder of its own for an audit log, and records that can be told apart.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "audit/check.h"
#include "audit/log.h"
#include "crypto/hash.h"

namespace sluice::audit {

inline Record numbered(uint64_t n) {
  Record r =
      make_record({.kind = Kind::kHandshakes, .detail = 1, .time_ms = 1'700'000'000'000 + n});
  store_le(r.data() + 32, n);
  return r;
}

inline std::vector<Record> some(uint64_t from, size_t n) {
  std::vector<Record> out;
  for (size_t i = 0; i < n; ++i) out.push_back(numbered(from + i));
  return out;
}

inline Result<void> append(Log& log, std::span<const Record> records) {
  size_t taken = 0;
  auto ok = log.append(records, taken);
  EXPECT_EQ(taken == records.size(), ok.has_value());
  return ok;
}

inline std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline void overwrite(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

class AuditFolder : public testing::Test {
 protected:
  // `place`: /dev/shm for what syncs so often that a disk would be all that is measured.
  explicit AuditFolder(const std::string& place = "/tmp") {
    std::string name = place + "/sluice-audit-XXXXXX";
    top_ = mkdtemp(name.data());
    folder_ = top_ + "/audit";
  }
  ~AuditFolder() override { std::filesystem::remove_all(top_); }

  std::unique_ptr<Log> open(uint64_t journal = Log::kJournalRecords,
                            const Expected& expected = {}) {
    auto log = Log::open(folder_, "relay.example/audit", expected, journal);
    if (!log) {
      error_ = log.error().message;
      return nullptr;
    }
    return std::move(*log);
  }
  std::string file(const Tile& tile) const { return folder_ + "/" + path_of(tile); }
  Verifier verifier() const { return *Verifier::parse(contents(verifier_path(folder_))); }
  Result<Checkpoint> check(CheckOptions options = {}) {
    FolderSource source(folder_);
    return check_log(source, verifier(), options);
  }

  std::string top_, folder_, error_;
};

}  // namespace sluice::audit
