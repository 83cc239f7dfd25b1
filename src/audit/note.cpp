#include "audit/note.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/file.h"
#include "crypto/hash.h"
#include "crypto/text.h"

namespace sluice::audit {
namespace {

constexpr uint8_t kEd25519 = 1;
constexpr std::string_view kPrivate = "PRIVATE+KEY+";
constexpr std::string_view kDash = "— ";  // an em dash and a space
constexpr size_t kLongestOrigin = 200;
// Eight levels of tiles.
constexpr uint64_t kMostRecords = uint64_t{1} << 56;
constexpr size_t kLongestNote = 64u << 10;

tl::unexpected<Error> no_note(const std::string& why) {
  return fail(ErrorCode::kStore, "not a checkpoint of this log: " + why);
}

std::string_view next_line(std::string_view& rest) {
  const size_t end = rest.find('\n');
  const std::string_view out = rest.substr(0, end);
  rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  return out;
}

// "ORIGIN+HEX+BASE64" after whatever stood before it: the 32 bytes of the key.
struct KeyText {
  std::string origin;
  uint32_t id = 0;
  ByteArray<32> key{};
};
std::optional<KeyText> parse_key(std::string_view text) {
  const size_t first = text.find('+');
  if (first == std::string_view::npos || text.size() < first + 10 || text[first + 9] != '+') {
    return std::nullopt;
  }
  KeyText out;
  out.origin = text.substr(0, first);
  const auto id = crypto::from_hex(text.substr(first + 1, 8));
  auto raw = crypto::from_base64(text.substr(first + 10));
  const bool good =
      is_origin(out.origin) && id && raw && raw->size() == 33 && (*raw)[0] == kEd25519;
  if (good) {
    out.id = load_be32(id->data());
    out.key = take<32>(raw->data() + 1);
  }
  if (raw) crypto::wipe(raw->data(), raw->size());
  if (!good) return std::nullopt;
  return out;
}

std::string key_text(const Verifier& log, Bytes key) {
  Buffer raw{kEd25519};
  raw.insert(raw.end(), key.begin(), key.end());
  std::string base64 = crypto::to_base64(raw);
  std::string out = fmt::format("{}+{:08x}+{}", log.origin, log.key_id(), base64);
  crypto::wipe(raw.data(), raw.size());
  crypto::wipe(base64.data(), base64.size());
  return out;
}

}  // namespace

bool is_origin(std::string_view text) {
  return !text.empty() && text.size() <= kLongestOrigin &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return c > ' ' && c < 0x7f && c != '+'; });
}

uint32_t Verifier::key_id() const {
  const uint8_t type[2] = {'\n', kEd25519};
  return load_be32(crypto::sha256({as_bytes(origin), Bytes(type, 2), key}).data());
}

std::string Verifier::text() const {
  return key_text(*this, key);
}

std::optional<Verifier> Verifier::parse(std::string_view text) {
  while (text.ends_with('\n')) text.remove_suffix(1);
  const auto parts = parse_key(text);
  if (!parts) return std::nullopt;
  Verifier out{parts->origin, parts->key};
  if (out.key_id() != parts->id || out.text() != text) return std::nullopt;
  return out;
}

Signer::Signer(std::string origin, crypto::Identity identity)
    : identity_(std::move(identity)), verifier_{std::move(origin), identity_.public_key()} {}

Result<Signer> Signer::generate(std::string origin) {
  if (!is_origin(origin)) {
    return fail(ErrorCode::kUsage,
                fmt::format("'{}' is no origin of a log: letters, digits and signs but '+', at "
                            "most {} of them",
                            origin, kLongestOrigin));
  }
  return Signer(std::move(origin), crypto::Identity::generate());
}

Result<Signer> Signer::load(const std::string& path) {
  auto text = read_secret_file(path, 1024);
  if (!text) return tl::unexpected(std::move(text.error()));
  std::string_view all = *text;
  while (all.ends_with('\n')) all.remove_suffix(1);
  std::optional<KeyText> parts;
  if (all.starts_with(kPrivate)) parts = parse_key(all.substr(kPrivate.size()));
  crypto::wipe(text->data(), text->size());
  if (parts) {
    const crypto::Key256 seed(parts->key);
    crypto::wipe(parts->key.data(), parts->key.size());
    Signer out(parts->origin, crypto::Identity::from_seed(seed));
    if (out.verifier_.key_id() == parts->id) return out;
  }
  return fail(ErrorCode::kKeyFile, fmt::format("{} does not hold the key of an audit log", path));
}

Result<void> Signer::save(const std::string& path) const {
  const crypto::Key256 seed = identity_.seed();
  std::string text = key_text(verifier_, seed.view());
  text = std::string(kPrivate) + text + "\n";
  auto r = write_file(path, as_bytes(text), 0600);
  crypto::wipe(text.data(), text.size());
  return r;
}

crypto::Signature Signer::sign(std::string_view text) const {
  return identity_.sign_raw(as_bytes(text));
}

std::string sign(const Checkpoint& c, const Signer& signer) {
  const std::string text = fmt::format("{}\n{}\n{}\n", c.origin, c.size, crypto::to_base64(c.root));
  ByteArray<68> signature;
  store_be32(signature.data(), signer.verifier().key_id());
  const auto raw = signer.sign(text);
  std::memcpy(signature.data() + 4, raw.data(), raw.size());
  return fmt::format("{}\n{}{} {}\n", text, kDash, signer.verifier().origin,
                     crypto::to_base64(signature));
}

Result<Checkpoint> open_note(std::string_view note, const Verifier& log) {
  if (note.size() > kLongestNote) return no_note("it is too long");
  if (!note.ends_with('\n')) return no_note("its end is missing");
  const size_t blank = note.rfind("\n\n");
  if (blank == std::string_view::npos) return no_note("nobody signed it");
  const std::string_view text = note.substr(0, blank + 1);
  std::string_view lines = note.substr(blank + 2);
  bool held = false;
  while (!lines.empty()) {
    std::string_view line = next_line(lines);
    if (!line.starts_with(kDash)) return no_note("a line of its signatures is none");
    line.remove_prefix(kDash.size());
    const size_t space = line.find(' ');
    if (space == std::string_view::npos) return no_note("a line of its signatures is none");
    const auto raw = crypto::from_base64(line.substr(space + 1));
    if (!raw || raw->size() < 5) return no_note("a line of its signatures is none");
    if (line.substr(0, space) != log.origin || load_be32(raw->data()) != log.key_id()) continue;
    if (raw->size() != 68 ||
        !crypto::verify_raw(log.key, as_bytes(text), take<64>(raw->data() + 4))) {
      return no_note("its signature does not hold");
    }
    held = true;
  }
  if (!held) return no_note(fmt::format("{} has not signed it with this key", log.origin));
  std::string_view rest = text;
  Checkpoint out;
  out.origin = next_line(rest);
  if (out.origin != log.origin) return no_note("its origin is " + out.origin);
  const std::string_view size = next_line(rest);
  const auto [end, ec] = std::from_chars(size.data(), size.data() + size.size(), out.size);
  const auto root = crypto::from_base64(next_line(rest));
  if (ec != std::errc() || fmt::format("{}", out.size) != size || out.size > kMostRecords ||
      !root || root->size() != 32) {
    return no_note("its size or root is none");
  }
  out.root = take<32>(root->data());
  return out;
}

}  // namespace sluice::audit
