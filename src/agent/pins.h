// What the agent remembers for good about others, so that a relay cannot take it back: the
// operator's key, the relay's newest, and the newest end-to-end key that each peer has certified.
// Kept in the state folder. Owned by the agent's thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "crypto/identity.h"

namespace sluice::agent {

struct EnrolPin {
  uint64_t issued_ms = 0;
  ByteArray<32> e2e_key{};
};

// The statements by which a peer and this agent agreed, both seen and verified.
struct AgreementPin {
  ByteArray<32> request{};
  ByteArray<32> grant{};
  ByteArray<32> e2e_key{};  // the peer's, as it signed for it
};

// Which tunnel key the relay has, as its operator signed, in place of the one that this agent
// joined with.
struct RelayKeyPin {
  ByteArray<32> key{};
  ByteArray<32> replaced{};
  uint64_t issued_ms = 0;
  // Unix, by the relay's clock: that is tried as well until then. 0: `key` has answered, or the
  // other one's time is over.
  uint64_t replaced_until_ms = 0;
};

struct Pins {
  std::optional<crypto::PublicKey> operator_key;
  std::optional<RelayKeyPin> relay_key;
  std::map<crypto::PublicKey, EnrolPin> enrols;
  std::map<crypto::PublicKey, AgreementPin> agreements;
  // Identities that went on as another one, both keys having signed: the former by its successor.
  std::map<crypto::PublicKey, crypto::PublicKey> formers;
  std::vector<crypto::PublicKey> own_formers;  // that this agent had itself
  bool visible = false;                        // this agent may be looked up by name
  uint64_t own_enrol_ms = 0;  // time of this agent's own Enrol statement; 0: none made yet
  bool changed = false;       // since it was saved

  std::string to_json() const;
  static Result<Pins> from_json(const std::string& text);
};

// A missing file is an empty set of pins.
Result<Pins> load_pins(const std::string& path);
Result<void> save_pins(const std::string& path, Pins& pins);

}  // namespace sluice::agent
