#include "crypto/key_log.h"

#include <sodium.h>

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

namespace sluice::crypto {
namespace {

constexpr size_t kLineRoom = 512;

// libsodium's encoder has no table that a cache could tell of, and wants room for a zero.
void append_hex(SecretText& out, Bytes bytes) {
  sodium_bin2hex(out.extend(2 * bytes.size() + 1), 2 * bytes.size() + 1, bytes.data(),
                 bytes.size());
  out.cut(out.size() - 1);
}

void append(SecretText& out, const KeyLogDirection& d) {
  out << fmt::format(" {:08x} ", d.id);
  append_hex(out, d.key.view());
  out << ' ';
  append_hex(out, d.salt);
}

// Takes the next word of `line`; empty where one space does not follow the former.
std::string_view next_word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

bool read_hex(std::string_view word, MutBytes out) {
  size_t size = 0;
  const char* end = nullptr;
  return word.size() == 2 * out.size() &&
         sodium_hex2bin(out.data(), out.size(), word.data(), word.size(), nullptr, &size, &end) ==
             0 &&
         size == out.size() && end == word.data() + word.size();
}

bool read(std::string_view& line, KeyLogDirection& d) {
  ByteArray<4> id{};
  const bool good = read_hex(next_word(line), id) &&
                    read_hex(next_word(line), {d.key.data(), Key256::size()}) &&
                    read_hex(next_word(line), d.salt);
  d.id = load_be32(id.data());
  return good;
}

}  // namespace

SecretText key_log_line(const KeyLogEntry& entry) {
  SecretText out(kLineRoom);
  out << kKeyLogLabels[size_t(entry.kind)] << fmt::format(" {}", entry.unix_ms);
  append(out, entry.there);
  append(out, entry.back);
  out << '\n';
  return out;
}

std::optional<KeyLogEntry> parse_key_log_line(std::string_view line) {
  if (line.ends_with(' ')) return std::nullopt;
  KeyLogEntry out;
  const std::string_view label = next_word(line);
  if (label == kKeyLogLabels[size_t(KeyLogKind::kEndToEnd)]) {
    out.kind = KeyLogKind::kEndToEnd;
  } else if (label != kKeyLogLabels[size_t(KeyLogKind::kTunnel)]) {
    return std::nullopt;
  }
  const std::string_view time = next_word(line);
  const auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), out.unix_ms);
  if (error != std::errc() || end != time.data() + time.size()) return std::nullopt;
  if (!read(line, out.there) || !read(line, out.back) || !line.empty()) return std::nullopt;
  return out;
}

}  // namespace sluice::crypto
