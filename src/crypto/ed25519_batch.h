// Many Ed25519 signatures at once, each with its own verdict, eight in the lanes of AVX-512 IFMA
// where the CPU has it (batch_engine.h), one at a time with libsodium elsewhere. What is accepted
// is exactly what libsodium's crypto_sign_verify_detached accepts, whatever else is in the batch:
// no random linear combination, cofactorless equation, R compared by its encoding.
//
// An object belongs to one thread. `verify` and `prepare` allocate nothing.
#pragma once

#include <memory>
#include <span>

#include "crypto/batch_engine.h"
#include "crypto/identity.h"
#include "crypto/prepared_key.h"

namespace sluice::crypto {

struct VerifyJob {
  const PublicKey* key;
  Bytes message;
  const Signature* signature;
  // Of the same key, or none. One of another key is ignored.
  const PreparedKey* prepared = nullptr;
};

class Ed25519BatchVerifier {
 public:
  static constexpr size_t kMaxJobs = 64;
  static constexpr size_t kMaxPrepare = 8;

  explicit Ed25519BatchVerifier(const lanes::Engine* engine = batch_engine());
  ~Ed25519BatchVerifier();
  Ed25519BatchVerifier(const Ed25519BatchVerifier&) = delete;
  Ed25519BatchVerifier& operator=(const Ed25519BatchVerifier&) = delete;

  // At most kMaxJobs. Bit i of the answer: signature i holds. One to eight jobs cost the same.
  [[nodiscard]] uint64_t verify(std::span<const VerifyJob> jobs) noexcept;

  // At most kMaxPrepare keys. Bit i of the answer: out[i] was filled; the others, which no
  // signature can be accepted for, are left alone. Without lanes nothing is prepared: 0.
  [[nodiscard]] uint8_t prepare(std::span<const PublicKey> keys,
                                std::span<PreparedKey* const> out) noexcept;

 private:
  struct Workspace;
  const lanes::Engine* engine_;
  std::unique_ptr<Workspace> work_;
  struct FreeAligned {
    void operator()(void* p) const noexcept;
  };
  std::unique_ptr<void, FreeAligned> memory_;  // the engine's
};

}  // namespace sluice::crypto
