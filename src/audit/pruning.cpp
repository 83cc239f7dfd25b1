#include "audit/pruning.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>

namespace sluice::audit {
namespace {

constexpr int kTries = 20;  // while it is pruned again and again

// That the log which `now` is of continues the one that `head` is of.
Result<void> check_continues(TileSource& source, const Checkpoint& head, const Checkpoint& now) {
  if (now.size < head.size) {
    return fail(ErrorCode::kStore, "the log became shorter while it was read");
  }
  const auto proof = consistency_proof(head.size, now.size, subtrees_of(source, now.size));
  if (!proof) return tl::unexpected(proof.error());
  if (!proves_consistency(head.size, now.size, head.root, now.root, *proof)) {
    return fail(ErrorCode::kStore,
                "the log is not the one that it was a moment ago: it was written anew");
  }
  return {};
}

Result<Pruned> read_pruned(TileSource& source, const Verifier& log, const Checkpoint& head,
                           std::string_view text) {
  const auto wrong = [](std::string_view why) {
    return fail(ErrorCode::kStore,
                fmt::format("the file `pruned` of the audit log was changed: {}", why));
  };
  const auto index = pruning_number(text);
  if (!index) return wrong("it does not hold a record's number");
  // A record that came after `head` was signed is in a later tree.
  Checkpoint of = head;
  if (*index >= head.size) {
    const auto note = source.checkpoint();
    if (!note) return tl::unexpected(note.error());
    const auto later = open_note(*note, log);
    if (!later) return tl::unexpected(later.error());
    of = *later;
  }
  if (*index >= of.size) return wrong(fmt::format("the log has no record {}", *index));
  const auto records = read_records(source, *index / kTileWidth, of.size);
  if (!records) return tl::unexpected(records.error());
  const Record& record = records->at(*index % kTileWidth);
  if (!is_pruning(record, *index)) {
    return wrong(fmt::format("record {} does not say what was pruned", *index));
  }
  const auto proof = inclusion_proof(*index, of.size, subtrees_of(source, of.size));
  if (!proof) return tl::unexpected(proof.error());
  if (!proves_inclusion(leaf_hash(record), *index, of.size, *proof, of.root)) {
    return fail(
        ErrorCode::kStore,
        fmt::format("record {}, which says what was pruned, or a hash beside it was changed",
                    *index));
  }
  const Pruned out{*index, pruning_of(record)};
  if (out.first() > head.size) {
    return fail(ErrorCode::kOutdated,
                "all of the log was pruned while it was read: it grows faster than that; read a "
                "copy of its folder");
  }
  if (of != head) {
    if (auto ok = check_continues(source, head, of); !ok) return tl::unexpected(ok.error());
  }
  return out;
}

}  // namespace

std::optional<uint64_t> pruning_number(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  uint64_t out = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

std::string pruning_text(uint64_t record) {
  return fmt::format("{}\n", record);
}

bool is_pruning(const Record& record, uint64_t index) {
  if (record[1] != static_cast<uint8_t>(Kind::kPruned) || record[0] != kLayout) return false;
  const Pruning p = pruning_of(record);
  return p.from < p.to && p.to <= index && p.from % kTileWidth == 0 && p.to % kTileWidth == 0;
}

Result<Pruned> pruned_of(TileSource& source, const Verifier& log, const Checkpoint& head) {
  std::string text;
  for (int i = 0;; ++i) {
    const auto now = source.pruned();
    if (!now && now.error().code == ErrorCode::kNotFound) return Pruned{};
    if (!now) return tl::unexpected(now.error());
    const bool same = std::exchange(text, *now) == *now;
    auto out = read_pruned(source, log, head, text);
    if (out || out.error().code != ErrorCode::kNotFound) return out;
    // Unless the record went in its turn meanwhile.
    if (!same && i < kTries) continue;
    return fail(ErrorCode::kStore,
                out.error().message + ", which proves what was pruned: it was removed");
  }
}

}  // namespace sluice::audit
