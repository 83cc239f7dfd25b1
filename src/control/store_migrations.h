// The schema's versions. Version n is the outcome of the first n migrations; PRAGMA user_version
// holds n. A migration that has been released is never edited: the next one is appended.
#pragma once

#include <span>

#include <sqlite3.h>

namespace sluice::control {

std::span<const char* const> schema_migrations() noexcept;

// Runs migrations `from`, `from` + 1, … each in a transaction together with its version number.
// Returns SQLite's code; after a failure the last complete version stands.
int migrate(sqlite3* db, int from, std::span<const char* const> migrations);

}  // namespace sluice::control
