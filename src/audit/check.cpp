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

}  // namespace

Result<Checkpoint> check_log(TileSource& source, const Verifier& log, const CheckOptions& o) {
  const auto note = source.checkpoint();
  if (!note) return tl::unexpected(note.error());
  const auto head = open_note(*note, log);
  if (!head) return head;
  const uint64_t size = head->size;
  if (o.earlier && o.earlier->size > size) {
    return changed(
        fmt::format("the log has {} records, but {} when the earlier checkpoint was signed: "
                    "its end was cut off",
                    size, o.earlier->size));
  }
  Edge edge;
  if (o.earlier && o.earlier->size == 0 && o.earlier->root != edge.root()) {
    return changed("the earlier checkpoint is not that of an empty log");
  }
  Result<void> ok;
  std::array<std::vector<Hash>, 8> tiles;  // those of higher levels that are compared along the way
  for (uint64_t index = 0; edge.size() < size; ++index) {
    const auto records = read_records(source, index, size);
    if (!records) return tl::unexpected(records.error());
    const auto hashes = read_hashes(source, 0, index, size);
    if (!hashes) return tl::unexpected(hashes.error());
    for (size_t i = 0; i < records->size(); ++i) {
      const uint64_t at = edge.size();
      const Hash leaf = leaf_hash((*records)[i]);
      if (leaf != (*hashes)[i]) {
        return changed(
            fmt::format("record {} is not the one that was logged: it was changed, "
                        "removed or put in another place",
                        at));
      }
      edge.append(leaf, 0, [&](unsigned height, const Hash& hash) {
        const unsigned level = height / kTileHeight;
        if (height % kTileHeight != 0 || level == 0 || level >= tiles.size() || !ok) return;
        // The subtree that has just become whole, among those of its height.
        const uint64_t which = ((at + 1) >> height) - 1;
        if (which % kTileWidth == 0 || tiles[level].empty()) {
          auto tile = read_hashes(source, level, which / kTileWidth, size);
          if (!tile) {
            ok = tl::unexpected(std::move(tile.error()));
            return;
          }
          tiles[level] = std::move(*tile);
        }
        if (tiles[level].at(which % kTileWidth) != hash) {
          ok = changed(fmt::format("records {} to {} are not those that were logged",
                                   which << height, ((which + 1) << height) - 1));
        }
      });
      if (!ok) return tl::unexpected(ok.error());
      if (o.earlier && edge.size() == o.earlier->size && edge.root() != o.earlier->root) {
        return changed(
            fmt::format("the log's first {} records are not those that the earlier "
                        "checkpoint was signed for: it was written anew",
                        o.earlier->size));
      }
      if (o.record) o.record(at, (*records)[i]);
    }
    if (o.progress) o.progress(edge.size(), size);
  }
  if (edge.root() != head->root) {
    return changed(
        fmt::format("the {} records are not those that the checkpoint was signed for", size));
  }
  return head;
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
