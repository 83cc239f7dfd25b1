// What the relay says to a statement that an agent submits: one list of codes, for the wire, the
// documents and the tests (docs/protocol.md §5).
#pragma once

#include <string>

#include "control/store_rows.h"

namespace sluice::control {

// X(enumerator, code on the wire, sentence, hint)
#define SLUICE_OUTCOMES(X)                                                                         \
  X(kOk, "ok", "done", "")                                                                         \
  X(kMalformed, "malformed", "the statement is not of the documented form", "update this program") \
  X(kBadSignature, "bad_signature", "the statement's signature does not hold", "")                 \
  X(kWrongRelay, "wrong_relay", "the statement names another relay",                               \
    "connect to the relay that it is meant for")                                                   \
  X(kWrongTenant, "wrong_tenant", "the statement names another tenant", "")                        \
  X(kNotYours, "not_yours", "the statement speaks for another agent than this session's", "")      \
  X(kStale, "stale",                                                                               \
    "the statement's time is more than 120 s from the relay's, or it has expired",                 \
    "make a new one; see the clock")                                                               \
  X(kUnknownRequest, "unknown_request", "no such request waits for this agent",                    \
    "list what waits: sluice-agent pending")                                                       \
  X(kExceeds, "exceeds", "more is granted than the request asks for or offers", "")                \
  X(kScopeTaken, "scope_taken",                                                                    \
    "a scope's name begins with the same hash as another one that is in use in this tenant",       \
    "choose another name")                                                                         \
  X(kRevokedBefore, "revoked_before", "the pair was revoked after this statement was made",        \
    "ask again")                                                                                   \
  X(kTooMany, "too_many", "too many requests wait already", "let some be answered or expire")      \
  X(kNotAgreed, "not_agreed", "there is no such agreement between agents",                         \
    "a pair that the relay's operator has set is the operator's to end")                           \
  X(kPolicy, "policy", "the relay's policy does not allow this", "ask the operator of the relay")  \
  X(kNameTaken, "name_taken", "another agent of the tenant has this name",                         \
    "choose another: sluice-agent init --name")                                                    \
  X(kIdentityTaken, "identity_taken", "another agent has, or had, this identity",                  \
    "make a fresh one")                                                                            \
  X(kConfigured, "configured", "the relay's configuration names this agent by its identity",       \
    "ask the operator of the relay to change it there")                                            \
  X(kTooSoon, "too_soon", "this agent changed its identity a minute ago, or often today",          \
    "try again later")                                                                             \
  X(kNotProven, "not_proven", "cut, but a worker did not prove it within 1 s",                     \
    "tell the operator")                                                                           \
  X(kNotDurable, "not_durable", "cut, but the relay's store cannot be written",                    \
    "tell the operator")                                                                           \
  X(kStore, "store", "the relay's store cannot be written", "try again later")

enum class OutcomeCode : uint8_t {
#define X(id, code, text, hint) id,
  SLUICE_OUTCOMES(X)
#undef X
      kCount
};

struct TrustOutcome {
  const char* code;
  const char* text;
  const char* hint;
};
inline constexpr TrustOutcome kTrustOutcomes[] = {
#define X(id, code, text, hint) {code, text, hint},
    SLUICE_OUTCOMES(X)
#undef X
};
constexpr const TrustOutcome& info(OutcomeCode code) {
  return kTrustOutcomes[static_cast<size_t>(code)];
}

struct Outcome {
  OutcomeCode code = OutcomeCode::kOk;
  Digest digest{};      // of the submitted statement
  bool agreed = false;  // it made a pair
};

}  // namespace sluice::control
