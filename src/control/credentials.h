// Which credentials calls need, and what is known of each (docs/credentials.md): what the vault
// tells to whoever fills the workers' slots. The control thread's.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/error.h"
#include "crypto/secret_buffer.h"

namespace sluice::control {

// There is at most one credential for each; every call to that agent by that protocol gets it.
struct CredentialPlace {
  VirtualAddress target;
  uint8_t protocol = 0;  // wire::CallProtocol

  auto operator<=>(const CredentialPlace&) const = default;
};

enum class CredentialState : uint8_t {
  kUsable,
  kOutsideWindow,  // now: calls are denied `outside_window`
  kUnavailable,  // the vault is locked, the record is too old or damaged: `credential_unavailable`
};

struct CredentialStatus {
  CredentialState state = CredentialState::kUnavailable;
  int64_t until_ms = 0;    // Unix: when to look again; INT64_MAX: not by time
  int64_t opens_ms = 0;    // outside of its window: the next opening; 0: none
  std::string why;         // of kUnavailable, for operators; never a secret
  uint32_t version = 0;    // counts what was set under its name
  uint64_t id = 0;         // of the credential that is bound there
  bool is_oauth2 = false;  // open() gives what a token is asked for with
};

// The vault, and CredentialTokens before it.
class Credentials {
 public:
  virtual ~Credentials() = default;
  // All places that have a credential bound, usable or not.
  virtual std::vector<CredentialPlace> places() const = 0;
  virtual bool is_bound(const CredentialPlace& place) const = 0;
  virtual CredentialStatus status(const CredentialPlace& place, int64_t unix_ms) const = 0;
  // The plaintext, in the form of wire/credential.h.
  virtual Result<crypto::SecretBuffer> open(const CredentialPlace& place) = 0;
};

// Whoever fills the workers' slots, and CredentialTokens before it.
class CredentialSlots {
 public:
  virtual ~CredentialSlots() = default;
  // Something of that place is another now: bound, deleted, set anew, locked, unlocked. `done`
  // comes on the control thread once no worker can send what was there before; null: nobody waits.
  virtual void changed(const CredentialPlace& place, std::function<void()> done) = 0;
};

}  // namespace sluice::control
