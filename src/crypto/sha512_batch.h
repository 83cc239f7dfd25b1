// SHA-512 of many messages, eight at a time in the lanes of AVX-512 where the CPU has it
// (batch_engine.h), one at a time with libsodium elsewhere. A message comes in two pieces, so that
// what Ed25519 puts before it need not be copied together. No state; any thread.
#pragma once

#include <span>

#include "base/bytes.h"
#include "crypto/batch_engine.h"

namespace sluice::crypto {

struct Sha512Job {
  Bytes head;
  Bytes body;
  ByteArray<64>* digest;
};

void sha512_batch(std::span<const Sha512Job> jobs,
                  const lanes::Engine* engine = batch_engine()) noexcept;

}  // namespace sluice::crypto
