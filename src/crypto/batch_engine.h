// Which code the batched operations run on: eight lanes of AVX-512 IFMA where the CPU has it, else
// libsodium, one at a time. There is no AVX2 path: docs/crypto.md says why.
#pragma once

#include <string_view>

namespace sluice::crypto {

namespace lanes {
struct Engine;
}

// A lane back end; null stands for libsodium. All batched operations take one, by default this:
// the best that the CPU can run, unless the environment variable SLUICE_CRYPTO says "sodium". Read
// once.
const lanes::Engine* batch_engine() noexcept;

// AVX-512's where this CPU can run it, whatever the environment says, else null.
const lanes::Engine* ifma_engine_here() noexcept;

// "ifma", "sodium"; what logs and benchmarks print.
std::string_view name_of(const lanes::Engine* engine) noexcept;

}  // namespace sluice::crypto
