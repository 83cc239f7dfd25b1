// A key out of what a person remembers: Argon2id (RFC 9106). Takes as long and as much memory as it
// is told to, so never on the control thread or a worker. No state, any thread.
#pragma once

#include "base/bytes.h"

namespace sluice::crypto {

inline constexpr size_t kPassphraseSalt = 16;

struct Argon2Costs {
  uint32_t passes = 3;
  uint32_t memory_mb = 256;  // MiB

  auto operator<=>(const Argon2Costs&) const = default;
};

// False: the host does not give that much memory.
[[nodiscard]] bool key_from_passphrase(Bytes passphrase, const ByteArray<kPassphraseSalt>& salt,
                                       const Argon2Costs& costs, MutBytes key) noexcept;

}  // namespace sluice::crypto
