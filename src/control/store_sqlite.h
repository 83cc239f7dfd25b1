// Ownership of SQLite's handles and nothing more; results are SQLite's own codes.
// A connection and its statements belong to one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <sqlite3.h>

#include "base/bytes.h"

namespace sluice::control {

struct SqliteClose {
  void operator()(sqlite3* db) const noexcept { sqlite3_close_v2(db); }
  void operator()(sqlite3_stmt* s) const noexcept { sqlite3_finalize(s); }
};
using Connection = std::unique_ptr<sqlite3, SqliteClose>;
using Statement = std::unique_ptr<sqlite3_stmt, SqliteClose>;

// On failure the statement is null and sqlite3_errcode(db) says why.
inline Statement prepare(sqlite3* db, std::string_view sql) noexcept {
  sqlite3_stmt* s = nullptr;
  sqlite3_prepare_v3(db, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &s,
                     nullptr);
  return Statement(s);
}

inline int execute(sqlite3* db, const char* sql) noexcept {
  return sqlite3_exec(db, sql, nullptr, nullptr, nullptr);
}

// One run of a statement. Reset at the end, because a statement left open holds a read
// transaction. What is bound is not copied and must outlive the run; so must what is read.
class Run {
 public:
  explicit Run(const Statement& s) noexcept : s_(s.get()) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    sqlite3_reset(s_);
    sqlite3_clear_bindings(s_);
  }

  Run& bind(uint64_t v) noexcept {
    return note(sqlite3_bind_int64(s_, next_++, static_cast<sqlite3_int64>(v)));
  }
  Run& bind(std::string_view v) noexcept {
    return note(sqlite3_bind_text64(s_, next_++, v.data(), v.size(), SQLITE_STATIC, SQLITE_UTF8));
  }
  Run& bind(Bytes v) noexcept {
    // A null pointer would be NULL and not an empty value.
    if (v.empty()) return note(sqlite3_bind_zeroblob(s_, next_++, 0));
    return note(sqlite3_bind_blob64(s_, next_++, v.data(), v.size(), SQLITE_STATIC));
  }

  // SQLITE_ROW, SQLITE_DONE or an error, a failed bind's included.
  int step() noexcept { return bound_ == SQLITE_OK ? sqlite3_step(s_) : bound_; }

  uint64_t number(int column) const noexcept {
    return static_cast<uint64_t>(sqlite3_column_int64(s_, column));
  }
  std::string_view text(int column) const noexcept {
    const unsigned char* p = sqlite3_column_text(s_, column);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(s_, column));
    return p ? std::string_view{reinterpret_cast<const char*>(p), size} : std::string_view{};
  }
  Bytes blob(int column) const noexcept {
    const void* p = sqlite3_column_blob(s_, column);
    const auto size = static_cast<size_t>(sqlite3_column_bytes(s_, column));
    return p ? Bytes{static_cast<const uint8_t*>(p), size} : Bytes{};
  }

 private:
  Run& note(int rc) noexcept {
    if (bound_ == SQLITE_OK) bound_ = rc;
    return *this;
  }

  sqlite3_stmt* s_;
  int next_ = 1;
  int bound_ = SQLITE_OK;
};

}  // namespace sluice::control
