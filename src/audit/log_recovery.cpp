// Opening a log: looked at as a whole first, and touched only when it is what it should be.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "audit/log.h"
#include "audit/log_files.h"
#include "audit/tile_source.h"
#include "base/file.h"
#include "base/log.h"

namespace sluice::audit {
namespace {

constexpr size_t kLargestJournal = 256u << 20;

Result<std::optional<Checkpoint>> signed_before(const std::string& folder, const Verifier& log) {
  const std::string path = checkpoint_path(folder);
  if (!exists(path)) return std::nullopt;
  const auto text = read_file(path, 64u << 10);
  if (!text) return tl::unexpected(text.error());
  auto opened = open_note(*text, log);
  if (!opened) {
    return fail(ErrorCode::kStore, fmt::format("{}: {}", path, opened.error().message));
  }
  return *opened;
}

// The tree at a journal's beginning: its tiles, and of those that were not whole then what the
// journal says, for nobody synced them.
class BeforeJournal : public FolderSource {
 public:
  BeforeJournal(const std::string& folder, uint64_t base, const std::vector<Subtree>& subtrees)
      : FolderSource(folder), base_(base), subtrees_(subtrees) {}
  Result<std::string> read(const Tile& tile) override {
    if (!tile.level || tile.width == kTileWidth ||
        tile.index != base_ >> (kTileHeight * (*tile.level + 1))) {
      return FolderSource::read(tile);
    }
    std::string out;
    for (const Subtree& s : subtrees_) {
      if (s.height == *tile.level * kTileHeight) out += as_text(s.hash);
    }
    return out;
  }

 private:
  const uint64_t base_;
  const std::vector<Subtree>& subtrees_;
};

}  // namespace

std::string key_path(const std::string& folder) {
  return folder + "/audit.key";
}
std::string verifier_path(const std::string& folder) {
  return folder + "/audit.vkey";
}
std::string checkpoint_path(const std::string& folder) {
  return folder + "/checkpoint";
}
std::string pruned_path(const std::string& folder) {
  return folder + "/pruned";
}

bool has_log(const std::string& folder) {
  return exists(key_path(folder)) || exists(checkpoint_path(folder)) || exists(folder + "/tile") ||
         !journals_in(folder).empty();
}

Result<Fd> lock_log(const std::string& folder) {
  const std::string path = folder + "/lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return io_error("create", path);
  // Root's tools must not lock out a relay that runs as somebody else.
  struct stat owner {};
  if (geteuid() == 0 && stat(folder.c_str(), &owner) == 0 &&
      fchown(fd.get(), owner.st_uid, owner.st_gid) != 0) {
    return io_error("give to the owner of its folder", path);
  }
  if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return io_error("lock", path);
  return fail(ErrorCode::kConflict,
              fmt::format("the audit log in {} is in use by another relay", folder));
}

// What the folder holds, read and left as it is.
struct Log::Survey {
  std::optional<Checkpoint> checkpoint;
  std::string journal;  // empty: there is none
  uint64_t base = 0;
  uint64_t size = 0;
  Hash root{};
  LastChange last_change;
  uint8_t last_kind = 0;
  uint64_t last_ms = 0;
  std::optional<Hash> root_at_checkpoint, root_at_kept;
  std::vector<Subtree> subtrees;  // of the tree at the journal's beginning
  std::optional<Pruned> said;     // the last record in the journal that says what is gone
  std::optional<Pruned> named;    // by the file `pruned`
};

Result<std::unique_ptr<Log>> Log::open(const std::string& folder, const std::string& origin,
                                       const Expected& expected, uint64_t journal_records) {
  const bool known = expected.verifier || expected.kept;
  if (known && !has_log(folder)) {
    return fail(
        ErrorCode::kStore,
        fmt::format("there is no audit log in {}, but there was one{}: put it back, or "
                    "give it up with sluicectl audit begin-anew",
                    folder,
                    expected.kept ? fmt::format(" of {} records", expected.kept->size) : ""));
  }
  for (const auto& f : {folder, journal_folder(folder)}) {
    if (auto ok = make_folder(f, 0700); !ok) {
      return fail(ErrorCode::kStore, "the audit log: " + ok.error().message);
    }
  }
  auto lock = lock_log(folder);
  if (!lock) return tl::unexpected(std::move(lock.error()));
  if (!exists(key_path(folder))) {
    if (has_log(folder)) {
      return fail(ErrorCode::kStore,
                  fmt::format("{} is missing, without which the log beside it cannot go on: put it "
                              "back, or give the log up with sluicectl audit begin-anew",
                              key_path(folder)));
    }
    auto fresh = Signer::generate(origin);
    if (!fresh) return tl::unexpected(std::move(fresh.error()));
    if (auto ok = fresh->save(key_path(folder)); !ok) return tl::unexpected(std::move(ok.error()));
  }
  auto signer = Signer::load(key_path(folder));
  if (!signer) return tl::unexpected(std::move(signer.error()));
  if (expected.verifier && signer->verifier().text() != expected.verifier->text()) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} is another one than it was: put it back", folder));
  }
  std::unique_ptr<Log> log(new Log(folder, std::move(*lock), std::move(*signer), journal_records));
  if (auto ok = log->recover(expected); !ok) return tl::unexpected(std::move(ok.error()));
  const std::string verifier = log->verifier().text() + "\n";
  const auto present = read_file(verifier_path(folder), 1024);
  if (!present || *present != verifier) {
    if (auto ok = write_file(verifier_path(folder), as_bytes(verifier), 0644); !ok) {
      return tl::unexpected(std::move(ok.error()));
    }
  }
  return log;
}

void Log::start_at(const JournalStart& start) {
  edge_ = Edge();
  for (auto& t : tiles_) t.clear();
  bundle_.clear();
  written_ = {};
  journal_base_ = start.base;
  last_change_ = start.last_change;
  last_kind_ = start.last_kind;
  last_ms_ = start.last_ms;
  // A hash in a tile stands for a subtree whose height is a multiple of a tile's.
  for (const Subtree& s : start.subtrees) {
    const unsigned level = s.height / kTileHeight;
    if (level < tiles_.size()) tiles_[level].push_back(s.hash);
    edge_.append(s.hash, s.height, [](unsigned, const Hash&) {});
  }
}

Result<Log::Survey> Log::survey(const Expected& expected) const {
  Survey out;
  auto checkpoint = signed_before(folder_, verifier());
  if (!checkpoint) return tl::unexpected(checkpoint.error());
  out.checkpoint = std::move(*checkpoint);
  const auto journals = journals_in(folder_);
  if (journals.empty()) return out;
  out.journal = journals[0];
  Edge edge;
  const auto look = [&] {
    if (out.checkpoint && edge.size() == out.checkpoint->size) out.root_at_checkpoint = edge.root();
    if (expected.kept && edge.size() == expected.kept->size) out.root_at_kept = edge.root();
  };
  auto journal = Journal::open(
      out.journal, false,
      [&](const JournalStart& s) {
        out.base = s.base;
        out.last_change = s.last_change;
        out.last_kind = s.last_kind;
        out.last_ms = s.last_ms;
        out.subtrees = s.subtrees;
        for (const Subtree& t : s.subtrees)
          edge.append(t.hash, t.height, [](unsigned, const Hash&) {});
        look();
      },
      [&](std::span<const Record> records, std::span<const Hash> hashes) {
        for (size_t i = 0; i < records.size(); ++i) {
          if (is_pruning(records[i], edge.size())) {
            out.said = {edge.size(), pruning_of(records[i])};
          }
          edge.append(hashes[i], 0, [](unsigned, const Hash&) {});
          look();
          if (records[i][1] != static_cast<uint8_t>(Kind::kChange)) continue;
          out.last_change = {sequence_of(records[i]), digest_of(records[i])};
        }
        out.last_kind = records.back()[1];
        out.last_ms = header_of(records.back()).time_ms;
      });
  if (!journal) return tl::unexpected(journal.error());
  out.size = edge.size();
  out.root = edge.root();
  if (auto ok = survey_pruning(out); !ok) return tl::unexpected(ok.error());
  return out;
}

// A file that names no such record is as good as none: the log only says anew what is gone.
Result<void> Log::survey_pruning(Survey& found) const {
  FolderSource source(folder_);
  const auto text = source.pruned();
  if (!text && text.error().code == ErrorCode::kNotFound) return {};
  if (!text) return tl::unexpected(text.error());
  const auto index = pruning_number(*text);
  if (found.said && found.said->record == index) {
    found.named = found.said;
  } else if (index && *index < found.base) {
    const auto records = read_records(source, *index / kTileWidth, found.base);
    if (records && is_pruning((*records)[*index % kTileWidth], *index)) {
      found.named = {*index, pruning_of((*records)[*index % kTileWidth])};
    }
  }
  if (!found.named) {
    spdlog::warn("{} names no record that says what was pruned: it was changed",
                 pruned_path(folder_));
  }
  return {};
}

Result<void> Log::check_kept(const Survey& found, const Expected& expected) const {
  if (!expected.kept || expected.kept->size == 0) return {};
  const auto& kept = *expected.kept;
  const auto remedy =
      "put the folder back as it was, or give the log up with sluicectl audit begin-anew";
  if (found.size < kept.size) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} holds {} records, but was known to have {}: {}",
                            folder_, found.size, kept.size, remedy));
  }
  std::optional<Hash> root = found.root_at_kept;
  std::string why;
  if (!root && found.named && kept.size < found.named->first() && kept.size % kTileWidth != 0) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} has pruned its records before {}, and the store "
                            "knows it with {}: whether it is the same log cannot be told; restore "
                            "a later backup of the store, or give the log up with sluicectl audit "
                            "begin-anew",
                            folder_, found.named->first(), kept.size));
  }
  if (!root) {
    BeforeJournal source(folder_, found.base, found.subtrees);
    auto old = root_of(kept.size, subtrees_of(source, found.base));
    if (old) root = *old;
    if (!old) why = " (" + old.error().message + ")";
  }
  if (root == kept.root) return {};
  return fail(ErrorCode::kStore,
              fmt::format("the first {} records of the audit log in {} are not those that were "
                          "known{}: {}",
                          kept.size, folder_, why, remedy));
}

Result<void> Log::recover(const Expected& expected) {
  auto found = survey(expected);
  if (!found) return tl::unexpected(std::move(found.error()));
  const auto& checkpoint = found->checkpoint;
  if (found->journal.empty() && checkpoint) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} was signed with {} records, but its journal is "
                            "missing: put the folder back as it was",
                            folder_, checkpoint->size));
  }
  if (checkpoint && found->size < checkpoint->size) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} was signed with {} records and holds {} that are "
                            "sound: put back what was taken away or changed",
                            folder_, checkpoint->size, found->size));
  }
  if (checkpoint && found->root_at_checkpoint != checkpoint->root) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} is not the one whose {} records were signed: "
                            "records were changed",
                            folder_, checkpoint->size));
  }
  if (!checkpoint && found->base != 0) {
    return fail(ErrorCode::kStore,
                fmt::format("{} is missing: put it back", checkpoint_path(folder_)));
  }
  if (auto ok = check_kept(*found, expected); !ok) return ok;
  if (expected.judge) {
    if (auto ok = expected.judge(found->last_change); !ok) return ok;
  }
  published_ = checkpoint.value_or(Checkpoint{verifier().origin, 0, Edge().root()});
  if (found->journal.empty()) {
    opened_.fresh = true;
    return begin_journal();
  }
  // A log that was begun and never written to has missed nothing.
  opened_.crashed = found->size != 0 && (found->last_kind != static_cast<uint8_t>(Kind::kClosed) ||
                                         published_.size != found->size);
  opened_.last_ms = found->last_ms;
  // After a crash, too: perhaps it was a sync that failed before.
  if (expected.rewrite_journal || opened_.crashed) {
    const auto content = read_file(found->journal, kLargestJournal);
    if (!content) return tl::unexpected(content.error());
    auto ok = write_file(found->journal, as_bytes(*content), 0600);
    if (!ok && expected.rewrite_journal) return ok;
  }
  if (auto ok = rebuild(*found); !ok) return ok;
  if (found->named) {
    first_ = found->named->first();
    removing_ = found->named->what.from;  // as far as is known
    if (said_ && said_->record <= found->named->record) said_.reset();
  }
  const auto journals = journals_in(folder_);
  for (size_t i = 1; i < journals.size(); ++i) unlink(journals[i].c_str());
  return {};
}

// Tiles are as the checkpoint has them after a stop; after a crash some may not be on disk.
Result<void> Log::rebuild(const Survey& found) {
  mode_ = opened_.crashed ? Tiles::kRepair : Tiles::kLeave;
  Result<void> taken;
  auto journal = Journal::open(
      found.journal, true, [&](const JournalStart& s) { start_at(s); },
      [&](std::span<const Record> records, std::span<const Hash> hashes) {
        if (taken) taken = take_in(records, hashes);
      });
  if (!journal) return tl::unexpected(journal.error());
  if (!taken) return taken;
  if (edge_.size() != found.size || edge_.root() != found.root) {
    return fail(ErrorCode::kStore,
                fmt::format("the audit log in {} was changed while it was opened", folder_));
  }
  journal_ = std::move(*journal);
  // What is on disk of partial tiles is not known.
  written_ = {};
  has_partial_.fill(true);
  mode_ = Tiles::kWrite;
  return opened_.crashed ? sync_tiles() : Result<void>();
}

Result<std::optional<LastChange>> last_change_of(const std::string& folder, uint64_t up_to) {
  const auto journals = journals_in(folder);
  if (journals.empty()) return std::nullopt;
  std::optional<LastChange> out;
  uint64_t base = 0;
  const auto look = [&](const Record& r) {
    if (r[1] != static_cast<uint8_t>(Kind::kChange) || sequence_of(r) > up_to) return;
    out = LastChange{sequence_of(r), digest_of(r)};
  };
  auto journal = Journal::open(
      journals[0], false,
      [&](const JournalStart& s) {
        base = s.base;
        const LastChange& before = s.last_change;
        if (before.sequence != 0 && before.sequence <= up_to) out = before;
      },
      [&](std::span<const Record> records, std::span<const Hash>) {
        for (const Record& r : records) look(r);
      });
  if (!journal) return tl::unexpected(journal.error());
  // Before the journal all bundles are whole; they rise with time, so the last that fits is it.
  FolderSource source(folder);
  for (uint64_t bundle = base / kTileWidth; bundle-- > 0 && !out;) {
    const auto records = read_records(source, bundle, base);
    if (!records && records.error().code == ErrorCode::kNotFound && exists(pruned_path(folder))) {
      return out;
    }
    if (!records) return tl::unexpected(records.error());
    for (const Record& r : *records) look(r);
  }
  return out;
}

}  // namespace sluice::audit
