// What the store keeps of the vault (docs/credentials.md), and what may happen to it: sealed bytes,
// and what may be known of them. Plain values. Times are Unix milliseconds of the relay's clock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "vault/key_ring.h"
#include "vault/master_key.h"

namespace sluice::control {

// The vault has that master key from then on; the one before goes.
struct VaultMasterSet {
  vault::MasterRecord master;
};
struct VaultKeyAdded {
  vault::WrappedKey key;
};
// The same data key under another master key. Not in the feed.
struct VaultKeyWrapped {
  vault::WrappedKey key;
};
struct VaultKeyRemoved {
  uint64_t number = 0;
};

// A credential; one of that id that is there gets another version.
struct CredentialRow {
  uint64_t id = 0;  // random, below 2^53: a number in JSON
  uint16_t tenant = 0;
  std::string name;  // its own within the tenant
  uint32_t version = 1;
  uint8_t parts = 0;     // bits of vault/content.h
  uint64_t key = 0;      // the data key that it is sealed with
  Buffer sealed;         // vault/record.h
  std::string life;      // control/credential_life.h
  uint64_t made_ms = 0;  // of the first version
  uint64_t set_ms = 0;
};
// The same text under another data key. Not in the feed.
struct CredentialSealed {
  uint64_t id = 0;
  uint64_t key = 0;
  Buffer sealed;
};
// With its bindings.
struct CredentialEnd {
  uint64_t id = 0;
  std::string name;  // for the feed
};

// Calls to that agent by that protocol get that credential.
struct BindingRow {
  uint64_t target = 0;  // virtual address
  uint8_t protocol = 0;
  uint64_t id = 0;  // of the credential
  uint64_t key = 0;
  Buffer proof;              // vault/record.h
  uint64_t at_ms = 0;        // when it was bound
  ByteArray<32> identity{};  // the agent's, for the feed alone
};
// Proved by another data key. Not in the feed.
struct BindingSealed {
  uint64_t target = 0;
  uint8_t protocol = 0;
  uint64_t key = 0;
  Buffer proof;
};
struct BindingEnd {
  uint64_t target = 0;
  uint8_t protocol = 0;
  uint64_t id = 0;
  ByteArray<32> identity{};
};

struct VaultRows {
  vault::MasterRecord master;  // number 0: there is no vault
  std::vector<vault::WrappedKey> keys;
  std::vector<CredentialRow> credentials;
  std::vector<BindingRow> bindings;
};

}  // namespace sluice::control
