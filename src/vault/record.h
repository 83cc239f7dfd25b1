// A record of the vault: a secret sealed under a data key, and what it is refused without. Whoever
// can write the store, and has no key, can neither change a record, nor put one in another's place,
// nor hand one to another agent. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/bytes.h"
#include "crypto/secret_buffer.h"
#include "vault/key_ring.h"

namespace sluice::vault {

struct RecordName {
  uint64_t id = 0;  // never given twice
  uint16_t tenant = 0;
  uint32_t version = 0;
  uint64_t set_ms = 0;
  uint8_t parts = 0;      // bits of vault/content.h
  std::string_view name;  // as operators call it
  std::string_view life;  // when it may be used
};

// Which calls a record is for.
struct BindingName {
  uint64_t target = 0;  // a virtual address
  uint8_t protocol = 0;
  uint64_t id = 0;  // of the record
  uint16_t tenant = 0;
};

Buffer seal_record(const KeyRing& keys, uint64_t key, const RecordName& name, Bytes text);
// Nothing: it is not what was sealed, or its key is not there.
std::optional<crypto::SecretBuffer> open_record(const KeyRing& keys, uint64_t key,
                                                const RecordName& name, Bytes sealed);

Buffer seal_binding(const KeyRing& keys, uint64_t key, const BindingName& name);
bool binding_holds(const KeyRing& keys, uint64_t key, const BindingName& name, Bytes proof);

}  // namespace sluice::vault
