// What the log has taken in lately, in one file that is synced often and cheaply; the tiles, many
// files, are written from it and may be behind it after a crash. A journal begins with the state of
// the tree at its first record, so that nothing before it has to be read again.
//
//   header: "sluice-journal/1" zero-padded to 32 | base (8) | last change (8) | its digest (16) |
//           count (4) | kind of the last record before (1) | zero (3) | its time (8) | count of
//           (height (8) | hash (32)), from the left | SHA-256 of all that (32)
//   then batches: count (4) | zero (4) | index of the first record (8) | check (16) | records
//
// A batch's check is the start of the SHA-256 of its records' leaf hashes: a batch that a crash
// tore is told from a whole one, and is the last. Files 0600. The log's thread.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "audit/merkle.h"
#include "audit/record.h"
#include "base/error.h"
#include "base/file.h"

namespace sluice::audit {

// The last entry of the store's feed that the log holds; 0: none.
struct LastChange {
  uint64_t sequence = 0;
  ByteArray<16> digest{};
};

struct Subtree {
  unsigned height = 0;
  Hash hash{};
};

struct JournalStart {
  uint64_t base = 0;  // entries before it
  LastChange last_change;
  uint8_t last_kind = 0;  // of the record before; 0: there is none
  uint64_t last_ms = 0;
  std::vector<Subtree> subtrees;  // that make up the tree of size `base`
};

class Journal {
 public:
  static constexpr size_t kMostInBatch = 1024;

  // Durable when it returns, before anything is in it.
  static Result<Journal> create(const std::string& path, const JournalStart& start);
  using Batch = std::function<void(std::span<const Record>, std::span<const Hash>)>;
  // Reads all of it; what a crash left unfinished at its end is cut off where `repair` is set.
  // kStore: its beginning is damaged.
  static Result<Journal> open(const std::string& path, bool repair,
                              const std::function<void(const JournalStart&)>& begin,
                              const Batch& batch);

  // At most kMostInBatch. All of them or none; after an error that cannot be taken back the journal
  // is `broken`, and has to be opened again.
  Result<void> append(uint64_t index, std::span<const Record> records,
                      std::span<const Hash> hashes);
  Result<void> sync();
  // Whether its name still leads to it: a folder that was moved away takes the journal with it.
  bool in_place() const;
  bool broken() const { return broken_; }
  const std::string& path() const { return path_; }

 private:
  Journal(std::string path, Fd fd, uint64_t end)
      : path_(std::move(path)), fd_(std::move(fd)), end_(end) {}
  std::string path_;
  Fd fd_;
  uint64_t end_ = 0;
  bool broken_ = false;
};

}  // namespace sluice::audit
