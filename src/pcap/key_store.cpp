#include "pcap/key_store.h"

#include <fmt/format.h>

#include "crypto/secret_file.h"

namespace sluice::capture {
namespace {

// About 18,000 sessions. It is read into locked memory, of which users have 8 MiB.
constexpr size_t kMostBytes = 4u << 20;

}  // namespace

Result<KeyStore> KeyStore::load(const std::string& path) {
  const auto file = crypto::read_secret(path, kMostBytes);
  if (!file && file.error().code == ErrorCode::kTooLarge) {
    return fail(ErrorCode::kTooLarge, fmt::format("the key log {} has more than 4 MiB; take the "
                                                  "lines of the capture's time out of it",
                                                  path));
  }
  if (!file) return tl::unexpected(file.error());
  KeyStore out;
  std::string_view rest = as_text(file->view());
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.empty() || line.front() == '#') continue;
    // A line that a full disk cut short, or of a later version, spoils no other.
    if (auto entry = crypto::parse_key_log_line(line)) {
      out.add(std::move(*entry));
    } else {
      ++out.ignored_;
    }
  }
  if (!out.entries_.empty()) return out;
  return fail(ErrorCode::kKeyFile,
              fmt::format("{} has no session's keys: a key log comes from sluice-agent up --keylog "
                          "(docs/capture.md)",
                          path));
}

void KeyStore::add(crypto::KeyLogEntry entry) {
  entries_.push_back(std::move(entry));
  const crypto::KeyLogEntry& e = entries_.back();
  ++sessions_[size_t(e.kind)];
  for (const crypto::KeyLogDirection* d : {&e.there, &e.back}) {
    Keys& keys = by_id_[{e.kind, d->id}];
    keys.insert(keys.begin(), d);
  }
}

const KeyStore::Keys& KeyStore::find(crypto::KeyLogKind kind, uint32_t id) const {
  static const Keys none;
  const auto it = by_id_.find({kind, id});
  return it == by_id_.end() ? none : it->second;
}

}  // namespace sluice::capture
