// Identities as the ceremony keys by them. No state.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include "crypto/identity.h"

namespace sluice::control {

// Of a statement's field that is known to have 32 bytes.
inline crypto::PublicKey key_of(const std::string& bytes) {
  return take<32>(as_bytes(bytes).data());
}

inline std::pair<crypto::PublicKey, crypto::PublicKey> ordered(const crypto::PublicKey& a,
                                                               const crypto::PublicKey& b) {
  return {std::min(a, b), std::max(a, b)};
}

}  // namespace sluice::control
