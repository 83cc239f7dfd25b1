#include "audit/check.h"

#include <charconv>

#include <fmt/format.h>

#include "crypto/text.h"

namespace sluice::audit {
namespace {

constexpr std::string_view kProof = "c2sp.org/tlog-proof@v1\n";
constexpr size_t kLongestProof = 64;

tl::unexpected<Error> changed(std::string what) {
  return fail(ErrorCode::kStore, std::move(what));
}

// A tile that the log must have.
tl::unexpected<Error> removed(const Error& missing) {
  return changed(missing.message +
                 ", and no record of the log says that it was pruned: it was removed");
}

Result<Checkpoint> read_head(TileSource& source, const Verifier& log) {
  const auto note = source.checkpoint();
  if (!note) return tl::unexpected(note.error());
  return open_note(*note, log);
}

// One pass from a log's beginning to its end.
class Check {
 public:
  Check(TileSource& source, const Verifier& log, const Checkpoint& head,
        const CheckOptions& options)
      : source_(source), log_(log), head_(head), o_(options) {}

  Result<Checkpoint> run(const Pruned& pruned) {
    const auto& earlier = o_.earlier;
    if (earlier && earlier->size > head_.size) {
      return changed(
          fmt::format("the log has {} records, but {} when the earlier checkpoint was signed: "
                      "its end was cut off",
                      head_.size, earlier->size));
    }
    take(pruned);
    if (earlier && earlier->size < pruned_.first() && earlier->size % kTileWidth != 0) {
      return not_comparable();
    }
    if (auto ok = compare_earlier(); !ok) return tl::unexpected(ok.error());
    while (edge_.size() < head_.size) {
      auto ok = edge_.size() < pruned_.first() ? skip_bundle() : read_bundle();
      if (!ok) return tl::unexpected(std::move(ok.error()));
      if (o_.progress) o_.progress(edge_.size(), head_.size);
    }
    if (edge_.root() != head_.root) {
      return changed(fmt::format("the {} records are not those that the checkpoint was signed for",
                                 head_.size));
    }
    if (earlier && !compared_) return not_comparable();
    return head_;
  }

 private:
  void take(const Pruned& pruned) {
    pruned_ = pruned;
    if (o_.pruned && pruned.first() != 0) o_.pruned(pruned);
  }

  tl::unexpected<Error> not_comparable() const {
    return fail(ErrorCode::kOutdated,
                fmt::format("the earlier checkpoint, of {} records, cannot be compared: those "
                            "before {} were pruned, and with them the hashes that it takes; keep "
                            "a later one",
                            o_.earlier->size, pruned_.first()));
  }

  // Where the log now ends as the earlier one did.
  Result<void> compare_earlier() {
    if (!o_.earlier || edge_.size() != o_.earlier->size) return {};
    compared_ = true;
    if (edge_.root() == o_.earlier->root) return {};
    return changed(
        fmt::format("the log's first {} records are not those that the earlier "
                    "checkpoint was signed for: it was written anew",
                    o_.earlier->size));
  }

  // By the hash in the tile above, which the root and the tiles above that vouch for.
  Result<void> skip_bundle() {
    const uint64_t index = edge_.size() / kTileWidth;
    auto hash = tile_hash(1, index);
    if (!hash) return tl::unexpected(std::move(hash.error()));
    if (auto ok = append(*hash, kTileHeight); !ok) return ok;
    return compare_earlier();
  }

  Result<void> read_bundle() {
    const uint64_t index = edge_.size() / kTileWidth;
    const auto records = read_records(source_, index, head_.size);
    if (!records) return not_there(records.error(), index);
    const auto hashes = read_hashes(source_, 0, index, head_.size);
    if (!hashes) return not_there(hashes.error(), index);
    for (size_t i = 0; i < records->size(); ++i) {
      const uint64_t at = edge_.size();
      const Hash leaf = leaf_hash((*records)[i]);
      if (leaf != (*hashes)[i]) {
        return changed(
            fmt::format("record {} is not the one that was logged: it was changed, "
                        "removed or put in another place",
                        at));
      }
      if (auto ok = append(leaf, 0); !ok) return ok;
      if (auto ok = compare_earlier(); !ok) return ok;
      if (o_.record) o_.record(at, (*records)[i]);
    }
    return {};
  }

  // Perhaps it was pruned a moment ago.
  Result<void> not_there(const Error& why, uint64_t index) {
    if (why.code != ErrorCode::kNotFound) return tl::unexpected(why);
    const auto now = pruned_of(source_, log_, head_);
    if (!now) return tl::unexpected(now.error());
    if (now->first() <= index * kTileWidth) return removed(why);
    take(*now);
    return {};
  }

  // Compared with the tiles above, as far as they are of whole subtrees.
  Result<void> append(const Hash& hash, unsigned height) {
    Result<void> ok;
    const uint64_t end = edge_.size() + (uint64_t{1} << height);
    edge_.append(hash, height, [&](unsigned h, const Hash& whole) {
      const unsigned level = h / kTileHeight;
      if (h % kTileHeight != 0 || level == 0 || level >= tiles_.size() || !ok) return;
      const uint64_t which = (end >> h) - 1;
      const auto expected = tile_hash(level, which);
      if (!expected) {
        ok = tl::unexpected(expected.error());
      } else if (*expected != whole) {
        ok = changed(fmt::format("records {} to {} are not those that were logged", which << h,
                                 ((which + 1) << h) - 1));
      }
    });
    return ok;
  }

  // Asked for from the left to the right.
  Result<Hash> tile_hash(unsigned level, uint64_t which) {
    auto& [index, hashes] = tiles_[level];
    if (hashes.empty() || index != which / kTileWidth) {
      auto tile = read_hashes(source_, level, which / kTileWidth, head_.size);
      if (!tile && tile.error().code == ErrorCode::kNotFound) {
        return removed(tile.error());
      }
      if (!tile) return tl::unexpected(std::move(tile.error()));
      index = which / kTileWidth;
      hashes = std::move(*tile);
    }
    return hashes.at(which % kTileWidth);
  }

  TileSource& source_;
  const Verifier& log_;
  const Checkpoint head_;
  const CheckOptions& o_;
  Pruned pruned_;
  Edge edge_;
  bool compared_ = false;  // with the earlier checkpoint
  std::array<std::pair<uint64_t, std::vector<Hash>>, 8> tiles_;
};

}  // namespace

Result<Checkpoint> check_log(TileSource& source, const Verifier& log, const CheckOptions& o) {
  const auto head = read_head(source, log);
  if (!head) return head;
  const auto pruned = pruned_of(source, log, *head);
  if (!pruned) return tl::unexpected(pruned.error());
  return Check(source, log, *head, o).run(*pruned);
}

Result<std::string> prove(TileSource& source, const Verifier& log, uint64_t index, Record& record) {
  const auto note = source.checkpoint();
  if (!note) return tl::unexpected(note.error());
  const auto head = open_note(*note, log);
  if (!head) return tl::unexpected(head.error());
  if (index >= head->size) {
    return fail(
        ErrorCode::kNotFound,
        fmt::format("there is no record {}: the log has {} (from 0 on)", index, head->size));
  }
  const auto records = read_records(source, index / kTileWidth, head->size);
  if (!records && records.error().code == ErrorCode::kNotFound) {
    const auto pruned = pruned_of(source, log, *head);
    if (!pruned) return tl::unexpected(pruned.error());
    if (index >= pruned->first()) return removed(records.error());
    return fail(
        ErrorCode::kNotFound,
        fmt::format("record {} was pruned: the log begins with record {}, as record {} says", index,
                    pruned->first(), pruned->record));
  }
  if (!records) return tl::unexpected(records.error());
  record = records->at(index % kTileWidth);
  const auto proof = inclusion_proof(index, head->size, subtrees_of(source, head->size));
  if (!proof) return tl::unexpected(proof.error());
  if (!proves_inclusion(leaf_hash(record), index, head->size, *proof, head->root)) {
    return changed(
        fmt::format("record {} or a hash beside it was changed: sluicectl audit verify "
                    "finds where",
                    index));
  }
  std::string out = fmt::format("{}index {}\n", kProof, index);
  for (const Hash& h : *proof) out += crypto::to_base64(h) + "\n";
  return out + "\n" + *note;
}

Result<Checkpoint> check_proof(std::string_view text, const Verifier& log, const Record& record,
                               uint64_t& index) {
  const auto malformed = [] { return fail(ErrorCode::kUsage, "not a proof of a log's record"); };
  constexpr std::string_view kIndex = "index ";
  if (!text.starts_with(kProof)) return malformed();
  text.remove_prefix(kProof.size());
  if (text.starts_with("extra ")) text.remove_prefix(std::min(text.size(), text.find('\n') + 1));
  if (!text.starts_with(kIndex)) return malformed();
  text.remove_prefix(kIndex.size());
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (ec != std::errc() || end == text.data() + text.size() || *end != '\n') return malformed();
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);
  std::vector<Hash> proof;
  while (!text.starts_with('\n')) {
    const size_t line = text.find('\n');
    const auto hash = crypto::from_base64(text.substr(0, line));
    if (line == std::string_view::npos || !hash || hash->size() != 32 ||
        proof.size() == kLongestProof) {
      return malformed();
    }
    proof.push_back(take<32>(hash->data()));
    text.remove_prefix(line + 1);
  }
  const auto head = open_note(text.substr(1), log);
  if (!head) return head;
  if (!proves_inclusion(leaf_hash(record), index, head->size, proof, head->root)) {
    return changed(fmt::format("the proof does not hold: record {} is another one", index));
  }
  return head;
}

}  // namespace sluice::audit
