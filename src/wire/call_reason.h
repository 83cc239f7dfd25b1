// What a call can be answered with: the decisions of docs/protocol.md §7, in the order in which
// they are checked. The numbers are on the wire (CALL_DENY) and in the audit log, and for good.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::wire {

// X(enumerator, number, name, sentence)
#define SLUICE_CALL_REASONS(X)                                                                 \
  X(kAuthorized, 0, "authorized", "the call was forwarded")                                    \
  X(kMalformedEnvelope, 1, "malformed_envelope",                                               \
    "the envelope contradicts itself, its frame or the session that it came on")               \
  X(kNoEdge, 2, "no_edge", "a label that the caller does not own")                             \
  X(kRevoked, 3, "revoked", "the edge, or an agent at one of its ends, is revoked")            \
  X(kWrongTenant, 4, "wrong_tenant", "the envelope names another tenant than the caller's")    \
  X(kMissingTraceOrIdempotency, 5, "missing_trace_or_idempotency",                             \
    "the trace id or the idempotency key is zero")                                             \
  X(kWrongAudience, 6, "wrong_audience", "the envelope is for another agent than the edge's")  \
  X(kNotYetValid, 7, "not_yet_valid", "issued ahead of the relay's clock")                     \
  X(kExpiredMessage, 8, "expired_message", "issued too long ago, or expired")                  \
  X(kReplayed, 9, "replayed", "the message id was used before, or is of another relay epoch")  \
  X(kDuplicateIdempotencyKey, 10, "duplicate_idempotency_key",                                 \
    "another call of this agent has the idempotency key, and has not expired")                 \
  X(kMissingScope, 11, "missing_scope", "a scope that was not granted")                        \
  X(kCapabilityNotAllowed, 12, "capability_not_allowed", "a capability that was not granted")  \
  X(kProtocolNotAllowed, 13, "protocol_not_allowed", "a protocol that was not granted")        \
  X(kOutsideWindow, 14, "outside_window", "the edge is closed at this time")                   \
  X(kControlStale, 15, "control_stale", "the relay's control thread has not run for too long") \
  X(kCircuitOpen, 16, "circuit_open", "too many calls over this edge failed lately")           \
  X(kRateLimited, 17, "rate_limited", "beyond the rate of the edge, the caller or its tenant") \
  X(kQuotaExhausted, 18, "quota_exhausted", "the quota of the grant is used up")               \
  X(kIdempotencyTableFull, 19, "idempotency_table_full",                                       \
    "no room for the caller's calls or idempotency keys until some have ended")                \
  X(kCredentialUnavailable, 20, "credential_unavailable", "the credential cannot be provided") \
  X(kAuditUnavailable, 21, "audit_unavailable", "the decision could not be recorded")          \
  X(kBadSignature, 22, "bad_signature", "the caller's signature does not hold")                \
  X(kApprovalRequired, 23, "approval_required", "parked until somebody approves it")           \
  X(kApprovalDenied, 24, "approval_denied", "nobody approved it, or somebody denied it")

enum class CallReason : uint16_t {
#define X(id, number, name, text) id = number,
  SLUICE_CALL_REASONS(X)
#undef X
};

inline constexpr size_t kCallReasons = 25;

struct CallReasonInfo {
  const char* name;
  const char* text;
};

inline constexpr CallReasonInfo kCallReasonTable[] = {
#define X(id, number, name, text) {name, text},
    SLUICE_CALL_REASONS(X)
#undef X
};
static_assert(sizeof kCallReasonTable / sizeof kCallReasonTable[0] == kCallReasons);
#define X(id, number, name, text) \
  static_assert(CallReason::id == static_cast<CallReason>(number) && (number) < kCallReasons);
SLUICE_CALL_REASONS(X)
#undef X

constexpr const char* name(CallReason r) {
  return kCallReasonTable[static_cast<size_t>(r)].name;
}

}  // namespace sluice::wire
