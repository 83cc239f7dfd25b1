// What restart_fill and restart_probe agree on.
#pragma once

#include "crypto/identity.h"

namespace sluice::bench {

inline constexpr unsigned kProbes = 2;

// Of no use outside a benchmark: everybody can compute them.
inline crypto::Identity probe_identity(unsigned i) {
  ByteArray<32> seed{};
  seed[0] = static_cast<uint8_t>(i + 1);
  return crypto::Identity::from_seed(crypto::Key256(seed));
}

}  // namespace sluice::bench
