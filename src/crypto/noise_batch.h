// The tokens of many Noise handshakes at once: whenever some wait for a Diffie-Hellman, all of
// those are multiplied together (x25519_batch.h). Any thread; allocates nothing.
#pragma once

#include <span>

#include "crypto/noise.h"
#include "crypto/x25519_batch.h"

namespace sluice::crypto {

inline constexpr size_t kMostNoiseAtOnce = 64;

// Goes on until no step is kNeedsDh. `steps` are what start_read or start_write gave; at most
// kMostNoiseAtOnce. Shared secrets are wiped before it returns.
void finish_tokens(std::span<NoiseHandshake* const> handshakes, std::span<NoiseStep> steps,
                   const lanes::Engine* engine = batch_engine()) noexcept;

}  // namespace sluice::crypto
