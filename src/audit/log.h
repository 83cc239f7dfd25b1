// The log on disk: an RFC 6962 tree of 128-byte records in C2SP's tlog-tiles layout.
//
//   audit.key, audit.vkey     what signs it, and what others verify it with
//   checkpoint, tile/…        what is published: every file that a checkpoint needs is complete
//                             before it is; after a power loss partial tiles may be missing until
//                             the next checkpoint, for the journal is what is synced
//   journal/BASE              the records since `base`, synced; what tiles are written from again
//                             after a crash
//   pruned                    the number of the record that says which are gone; none: none
//
// append() is durable after sync(), and published after publish(). An I/O error leaves the log
// `broken`: it has to be opened again, which reads what is there. Owned by one thread, which waits
// for the disk; a lock in the folder keeps others out.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "audit/journal.h"
#include "audit/merkle.h"
#include "audit/note.h"
#include "audit/pruning.h"
#include "audit/record.h"
#include "audit/tile.h"
#include "base/error.h"

namespace sluice::audit {

std::string key_path(const std::string& folder);
std::string verifier_path(const std::string& folder);
std::string checkpoint_path(const std::string& folder);
std::string pruned_path(const std::string& folder);

// What a log that is opened says of itself.
struct Opened {
  bool fresh = false;    // there was none
  bool crashed = false;  // its last record is not that of a stop
  uint64_t last_ms = 0;  // the time of its last record
};

// What whoever opens a log knows of it. Looked at before anything in the folder is touched.
struct Expected {
  // It was there before: none is made in its place, and this key signs it.
  std::optional<Verifier> verifier;
  // It had so many records with that root at least.
  struct Kept {
    uint64_t size = 0;
    Hash root{};
  };
  std::optional<Kept> kept;
  std::function<Result<void>(const LastChange&)> judge;
  // After a failed sync: what the kernel still shows of the journal need not be on disk.
  bool rewrite_journal = false;
};

class Log {
 public:
  // After so many records the journal begins anew; a multiple of a tile of tiles.
  static constexpr uint64_t kJournalRecords = 8 * 65536;

  // Makes a new one with that origin where there is none. kStore: damaged, or not what its
  // checkpoint says; the sentence names the remedy.
  // kConflict: another process has it.
  static Result<std::unique_ptr<Log>> open(const std::string& folder, const std::string& origin,
                                           const Expected& expected = {},
                                           uint64_t journal_records = kJournalRecords);

  // `taken`: how many of them are in the log, also where there is an error.
  Result<void> append(std::span<const Record> records, size_t& taken);
  Result<void> sync();
  // Syncs, writes the tiles of the tree as it is, signs it. Nothing where nothing has been added.
  Result<void> publish();
  // The journal begins anew as soon as a bundle is whole: what it holds cannot be pruned.
  Result<void> rotate_soon();
  // Says in the log that the records before `to` are gone, and why; they are once remove_some() has
  // been asked until nothing is left. `to` is above first() and at most prunable(), and nothing may
  // be left of the last time: else kInternal. `limit` and the time: as they are recorded.
  Result<void> prune(Prune why, uint64_t to, uint64_t limit, uint64_t now_ms);
  // The next of the files that are to go, at most of so many bundles. An error leaves the log as it
  // is, and may be tried again.
  Result<void> remove_some(unsigned bundles);
  bool removing() const { return removing_ < first_; }
  // What is signed, and not needed to write tiles again after a crash.
  uint64_t prunable() const;

  // What a stop ends with, after the record that says so: tiles first, then the signature.
  Result<void> close();

  uint64_t size() const { return edge_.size(); }
  Hash root() const { return edge_.root(); }
  uint64_t first() const { return first_; }  // that is kept; a bundle's first
  uint64_t journal_base() const { return journal_base_; }
  const Checkpoint& published() const { return published_; }
  const LastChange& last_change() const { return last_change_; }
  const Opened& opened() const { return opened_; }
  const Verifier& verifier() const { return signer_.verifier(); }
  bool broken() const { return broken_; }
  // A sync failed: what the kernel shows of the files need not be on disk.
  bool sync_failed() const { return sync_failed_; }

 private:
  struct Survey;
  Log(std::string folder, Fd lock, Signer signer, uint64_t journal_records);
  Result<Survey> survey(const Expected& expected) const;
  Result<void> survey_pruning(Survey& found) const;
  Result<void> check_kept(const Survey& found, const Expected& expected) const;
  Result<void> recover(const Expected& expected);
  Result<void> rebuild(const Survey& found);
  Result<void> begin_journal();
  Result<void> rotate();
  void start_at(const JournalStart& start);
  Result<void> take_in(std::span<const Record> records, std::span<const Hash> hashes);
  Result<void> write_tile(const Tile& tile, Bytes content);
  Result<void> finish_tile(unsigned level, uint64_t size);
  Result<void> write_partial_tiles();
  Result<void> sign_now();
  Result<void> name_pruning();
  Result<void> sync_tiles();
  Result<void> broken_on_failure(Result<void> r);

  const std::string folder_;
  const Fd lock_;
  Signer signer_;
  const uint64_t journal_records_;
  std::optional<Journal> journal_;
  uint64_t journal_base_ = 0;
  Edge edge_;
  LastChange last_change_;
  uint8_t last_kind_ = 0;  // of the last record
  uint64_t last_ms_ = 0;
  Opened opened_;
  Checkpoint published_;
  // Of the tiles that are not whole yet: their hashes, by level, and the entries.
  std::array<std::vector<Hash>, 8> tiles_;
  Buffer bundle_;
  std::array<unsigned, 8> written_{};  // widths already on disk, by level
  std::array<bool, 8> has_partial_{};  // may be on disk, of the tile that is not whole
  std::string last_folder_;            // exists
  bool rotate_ = false;                // at the next whole bundle
  uint64_t first_ = 0;                 // records before it are gone, or are going
  uint64_t removing_ = 0;              // those before it are gone
  std::optional<Pruned> said_;         // in the log, and not yet in the file that names it
  enum class Tiles : uint8_t { kWrite, kRepair, kLeave } mode_ = Tiles::kWrite;
  bool broken_ = false;
  bool sync_failed_ = false;
};

// The folder's lock; kConflict: a process writes the log.
Result<Fd> lock_log(const std::string& folder);
// Whether there is a log, sound or not.
bool has_log(const std::string& folder);

// The last entry of the feed, up to that number, that a log holds which nobody writes. None: no
// such entry, or it is pruned, or no log. Reads the journal, and what is before it where it has to.
Result<std::optional<LastChange>> last_change_of(const std::string& folder,
                                                 uint64_t up_to = UINT64_MAX);

}  // namespace sluice::audit
