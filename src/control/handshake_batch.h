// The public-key work of up to 64 handshakes (wire.md §4, the responder's side) at once, in two
// halves, between which its owner decides who is answered at all:
//   open    es, the initiator's static key, ss, the payload
//   answer  the identity's signature, a fresh ephemeral key, ee, se
// No table of the relay is read or written here, so the halves may run on any thread; one at a
// time.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "crypto/ed25519_batch.h"
#include "crypto/noise.h"
#include "crypto/secret.h"
#include "wire/tunnel.h"

namespace sluice::control {

// One HELLO on its way. Not movable while in a batch: Noise keeps addresses between steps.
struct Greeting {
  enum class State : uint8_t {
    kOpening,
    kOpened,
    kAnswering,
    kAnswered,
    kNoiseFailed,
    kMalformed,
    kBadSignature,
    kRefused
  };

  State state = State::kOpening;
  wire::HelloView hello;                             // of a packet that outlives the batch
  const crypto::X25519KeyPair* relay_key = nullptr;  // the one it is for; outlives the batch
  std::optional<crypto::NoiseHandshake> noise;
  Buffer plain;
  wire::HelloPayload payload;                     // from kOpened on; views into `plain`
  const crypto::PreparedKey* prepared = nullptr;  // the identity's, if there is one
  Buffer signed_message;
  ByteArray<wire::kWelcomeTokens> tokens;  // from kAnswered on

  // A HELLO may bring an enrolment token, which is a secret for as long as it is good.
  ~Greeting() {
    crypto::wipe(plain.data(), plain.size());
    crypto::wipe(signed_message.data(), signed_message.size());
  }
  Greeting() = default;
  Greeting(const Greeting&) = delete;
  Greeting& operator=(const Greeting&) = delete;
};

class HandshakeBatch {
 public:
  static constexpr size_t kMax = crypto::Ed25519BatchVerifier::kMaxJobs;

  explicit HandshakeBatch(const crypto::lanes::Engine* engine = crypto::batch_engine());

  // kOpening to kOpened, kNoiseFailed or kMalformed. At most kMax.
  void open(std::span<Greeting* const> greetings);
  // kAnswering (set by the owner on those of kOpened that it lets go on) to kAnswered,
  // kBadSignature or kNoiseFailed. Others are left alone.
  void answer(std::span<Greeting* const> greetings);

 private:
  const crypto::lanes::Engine* engine_;
  crypto::Ed25519BatchVerifier verifier_;
  // Empty between calls: they move into their handshakes.
  std::array<crypto::X25519KeyPair, kMax> ephemeral_;
};

}  // namespace sluice::control
