// A copy of a store that stays in use meanwhile (https://sqlite.org/backup.html): a bounded number
// of pages a step, so that a revocation waits for one step at most. What is committed between two
// steps is in the copy too. The file appears under its name when it is complete and on disk.
// Belongs to the store's thread, like the connection that it reads; dies before that does.
#pragma once

#include <memory>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "control/store_sqlite.h"

namespace sluice::control {

class StoreCopy {
 public:
  // kConflict: there is something at `path` already.
  static Result<std::unique_ptr<StoreCopy>> begin(sqlite3* source, const std::string& path);
  // What is not complete is removed.
  ~StoreCopy();
  StoreCopy(const StoreCopy&) = delete;
  StoreCopy& operator=(const StoreCopy&) = delete;

  // True when all is copied.
  Result<bool> step();
  // Then: gives the file its name, durably; its size in bytes.
  Result<uint64_t> complete();

 private:
  struct Finish {
    void operator()(sqlite3_backup* b) const noexcept { sqlite3_backup_finish(b); }
  };
  explicit StoreCopy(std::string path) : path_(std::move(path)), partial_(path_ + ".partial") {}
  tl::unexpected<Error> failed() const;
  const std::string path_;
  const std::string partial_;
  Fd fd_;  // for syncs of what SQLite writes
  Connection copy_;
  std::unique_ptr<sqlite3_backup, Finish> backup_;  // dies before the connections that it joins
  unsigned steps_ = 0;
  bool created_ = false;
};

}  // namespace sluice::control
