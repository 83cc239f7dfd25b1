// What became of each HELLO that reached the control thread, in one list; counted, and logged at
// debug level without the identity of strangers.
#pragma once

#include <array>
#include <cstdint>

namespace sluice::control {

// X(enumerator, name, sentence)
#define SLUICE_HANDSHAKE_OUTCOMES(X)                                                               \
  X(kWelcomed, "welcomed", "WELCOME sent for a new session")                                       \
  X(kRepeated, "repeated", "the same HELLO again: the same WELCOME again")                         \
  X(kRetrySent, "retry_sent", "RETRY sent: under load a source must return a cookie first")        \
  X(kBadCookie, "bad_cookie", "mac2 without a valid cookie")                                       \
  X(kNoiseFailed, "noise_failed", "not sealed for this relay, or corrupted")                       \
  X(kMalformed, "malformed", "an authentic HELLO with a malformed payload")                        \
  X(kEnrolling, "enrolling", "a good token: the agent is let in once its row is durable")          \
  X(kUnknownIdentity, "unknown_identity", "an identity that is not enrolled: no answer")           \
  X(kRevokedIdentity, "revoked_identity", "a revoked identity: no answer")                         \
  X(kBadSignature, "bad_signature", "the identity's signature does not hold: no answer")           \
  X(kBadTime, "bad_time", "time not above the last one or too far ahead: WELCOME without session") \
  X(kNoSlot, "no_slot", "limits.sessions is reached")                                              \
  X(kQueueFull, "queue_full", "more HELLOs with a good cookie than wait to be served")             \
  X(kNoAnswerPath, "no_answer_path", "the ring to the worker is full")

enum class HandshakeOutcome : uint8_t {
#define X(id, name, text) id,
  SLUICE_HANDSHAKE_OUTCOMES(X)
#undef X
      kCount
};

struct OutcomeInfo {
  const char* name;
  const char* text;
};
inline constexpr OutcomeInfo kOutcomeTable[] = {
#define X(id, name, text) {name, text},
    SLUICE_HANDSHAKE_OUTCOMES(X)
#undef X
};

using OutcomeCounts = std::array<uint64_t, size_t(HandshakeOutcome::kCount)>;

}  // namespace sluice::control
