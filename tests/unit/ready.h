// What tests of cryptography begin with.
#pragma once

#include <random>

#include "base/bytes.h"
#include "crypto/secret.h"

namespace sluice::crypto {

inline const bool kReady = init();

inline Buffer random_buffer(std::mt19937_64& random, size_t size) {
  Buffer out(size);
  for (auto& b : out) b = static_cast<uint8_t>(random());
  return out;
}

}  // namespace sluice::crypto
