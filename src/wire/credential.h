// A credential as the relay gives it to the agent that a call is for (docs/protocol.md §7), and as
// the vault keeps it: fields of type (1), zero (1), length (2) and bytes, in any order, at most
// kCredentialMax bytes in all. Views over bytes that somebody else owns and wipes; nothing here
// copies a secret. No state, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"

namespace sluice::wire {

inline constexpr size_t kCredentialMax = 8'192;

// A CREDENTIAL frame's extension: this, and a part of the credential.
#pragma pack(push, 1)
struct CredentialHead {
  uint32_t version;  // of the whole; no two have the same within a relay epoch
  uint8_t index;     // of this part
  uint8_t count;     // of parts
  uint8_t kind;      // CredentialKind
  uint8_t zero;
};
#pragma pack(pop)
static_assert(sizeof(CredentialHead) == 8);

enum class CredentialKind : uint8_t { kFields = 1 };

// In each part but the last: with it a packet over IPv6 fits the least MTU of a link, 1,280.
inline constexpr size_t kCredentialPart = 1'176;
inline constexpr size_t kCredentialParts = (kCredentialMax + kCredentialPart - 1) / kCredentialPart;
constexpr unsigned credential_parts(size_t size) {
  return static_cast<unsigned>((size + kCredentialPart - 1) / kCredentialPart);
}

inline constexpr size_t kCredentialFieldHead = 4;

// Numbers are never reused.
enum class CredentialField : uint8_t {
  kHeaderName = 1,  // and the value that belongs to it follows: set on the request
  kHeaderValue = 2,
  kQueryName = 3,  // likewise, in the query of the request's target
  kQueryValue = 4,
  kEndpoint = 5,     // URL that requests go to; their path is appended
  kWebhook = 6,      // URL that requests go to, as it is
  kClientChain = 7,  // PEM: the client's certificate and what it was issued by
  kClientKey = 8,    // PEM
  kAuthority = 9,    // PEM: whom the endpoint's certificate is issued by, in place of the system's

  // OAuth2 client credentials (RFC 6749, 4.4). They never leave the relay: what does is a
  // kHeaderName and kHeaderValue with the access token.
  kTokenUrl = 32,
  kClientId = 33,
  kClientSecret = 34,
  kTokenScope = 35,      // as one text
  kTokenAudience = 36,   // RFC 8707's `resource` or the `audience` that some servers want
  kTokenAuth = 37,       // "basic" or "post": how the client shows who it is
  kTokenAuthority = 38,  // PEM, as kAuthority, of the token endpoint
};

// A header that a credential may set: a token of RFC 9110, 5.6.2, and none of those that say how a
// message is framed, coded or where it goes, however they are written (servers that hand headers on
// as variables take `_` and `.` for `-`).
inline bool is_credential_header(std::string_view name) {
  constexpr std::string_view kNone[] = {"accept-encoding",
                                        "connection",
                                        "content-length",
                                        "expect",
                                        "host",
                                        "keep-alive",
                                        "proxy-connection",
                                        "te",
                                        "trailer",
                                        "transfer-encoding",
                                        "upgrade"};
  if (name.empty() || name.size() > 128) return false;
  char folded[128];
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool upper = c >= 'A' && c <= 'Z';
    const bool plain = upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (!plain && std::string_view("!#$%&'*+-.^_`|~").find(c) == std::string_view::npos) {
      return false;
    }
    folded[i] = upper ? static_cast<char>(c | 0x20) : c == '_' || c == '.' ? '-' : c;
  }
  for (const std::string_view none : kNone) {
    if (none == std::string_view(folded, name.size())) return false;
  }
  return true;
}

// True for what the target never sees.
constexpr bool stays_at_relay(CredentialField type) {
  return static_cast<uint8_t>(type) >= 32;
}

struct CredentialPart {
  CredentialField type;
  Bytes bytes;
};

// Walks the fields of `text`. False: it is not of this form, or ended.
class CredentialReader {
 public:
  explicit CredentialReader(Bytes text) noexcept : rest_(text) {}
  // After the last field `next` is false and `sound` true.
  bool next(CredentialPart& out) noexcept {
    if (rest_.empty()) return false;
    if (rest_.size() < kCredentialFieldHead || rest_[1] != 0) return fail();
    const size_t size = load_le<uint16_t>(rest_.data() + 2);
    if (size > rest_.size() - kCredentialFieldHead) return fail();
    out = {static_cast<CredentialField>(rest_[0]), rest_.subspan(kCredentialFieldHead, size)};
    rest_ = rest_.subspan(kCredentialFieldHead + size);
    return true;
  }
  bool sound() const noexcept { return sound_; }

 private:
  bool fail() noexcept {
    sound_ = false;
    rest_ = {};
    return false;
  }
  Bytes rest_;
  bool sound_ = true;
};

// Writes a field to `out`; the bytes behind it, or empty if it does not fit.
inline MutBytes write_credential_field(MutBytes out, CredentialField type, Bytes bytes) noexcept {
  if (bytes.size() > 0xffff || out.size() < kCredentialFieldHead + bytes.size()) return {};
  out[0] = static_cast<uint8_t>(type);
  out[1] = 0;
  store_le(out.data() + 2, static_cast<uint16_t>(bytes.size()));
  std::memcpy(out.data() + kCredentialFieldHead, bytes.data(), bytes.size());
  return out.subspan(kCredentialFieldHead + bytes.size());
}

}  // namespace sluice::wire
