// A tree's size and root under the log's signature: C2SP's tlog-checkpoint in a signed note, and
// the key that signs nothing else. The key's text is that of Go's sumdb/note, so that witnesses'
// and monitors' tools take it as it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "audit/merkle.h"
#include "base/error.h"
#include "crypto/identity.h"

namespace sluice::audit {

// Who a log is: its origin, which is also its key's name, and the public key.
struct Verifier {
  std::string origin;
  crypto::PublicKey key{};

  uint32_t key_id() const;
  // "ORIGIN+HEX+BASE64"
  std::string text() const;
  static std::optional<Verifier> parse(std::string_view text);
};

// Wiped when it goes.
class Signer {
 public:
  // kUsage: not an origin.
  static Result<Signer> generate(std::string origin);
  // A file 0600 with "PRIVATE+KEY+ORIGIN+HEX+BASE64".
  static Result<Signer> load(const std::string& path);
  Result<void> save(const std::string& path) const;

  const Verifier& verifier() const { return verifier_; }
  crypto::Signature sign(std::string_view text) const;

 private:
  Signer(std::string origin, crypto::Identity identity);
  crypto::Identity identity_;
  Verifier verifier_;
};

// Not empty, no white space, no plus; at most 200 bytes of printable ASCII.
bool is_origin(std::string_view text);

struct Checkpoint {
  std::string origin;
  uint64_t size = 0;
  Hash root{};

  bool operator==(const Checkpoint&) const = default;
};

std::string sign(const Checkpoint& checkpoint, const Signer& signer);

// kStore: not of that form, of another log, or nobody signed it whom `log` names.
Result<Checkpoint> open_note(std::string_view note, const Verifier& log);

}  // namespace sluice::audit
