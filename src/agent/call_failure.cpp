#include "agent/call_failure.h"

#include <fmt/format.h>

namespace sluice::agent {
namespace {

using wire::CallReason;

// Which of the exit codes a denial is, and what helps.
struct Advice {
  ErrorCode code;
  const char* hint;
};

Advice advice_for(CallReason reason) {
  switch (reason) {
    case CallReason::kRateLimited:
    case CallReason::kControlStale:
    case CallReason::kCircuitOpen:
    case CallReason::kIdempotencyTableFull:
    case CallReason::kAuditUnavailable:
    case CallReason::kCredentialUnavailable:
      return {ErrorCode::kResource, "try again a little later; nothing was sent to the peer"};
    case CallReason::kQuotaExhausted:
    case CallReason::kOutsideWindow:
      return {ErrorCode::kResource,
              "the trust with the peer has limits; try again when they allow"};
    case CallReason::kDuplicateIdempotencyKey:
      return {ErrorCode::kConflict,
              "a call with that key was made already; give another --idempotency-key for another"};
    case CallReason::kNotYetValid:
    case CallReason::kExpiredMessage:
      return {ErrorCode::kOutdated,
              "the envelope was too old when it could pass: was the peer away? call again"};
    case CallReason::kReplayed:
      return {ErrorCode::kOutdated, "the relay knows that call already; call again"};
    case CallReason::kCapabilityNotAllowed:
    case CallReason::kProtocolNotAllowed:
    case CallReason::kMissingScope:
      return {ErrorCode::kRefused,
              "ask for it: sluice-agent handshake PEER WHY --capabilities … --protocols …"};
    case CallReason::kRevoked:
      return {ErrorCode::kRefused,
              "the trust has ended or is another now; see: sluice-agent peers"};
    case CallReason::kApprovalDenied:
      return {ErrorCode::kRefused, "an operator of the relay decides about such calls"};
    default:
      return {ErrorCode::kRefused, "see docs/drops.md for the relay's decisions"};
  }
}

}  // namespace

CallFailure failure_of(const CallRow& row, uint32_t retry_after_ms) {
  const CallEndInfo& why = info(row.end);
  if (row.end == CallEnd::kDenied) {
    const Advice advice = advice_for(row.denied);
    return {advice.code, wire::name(row.denied),
            fmt::format("the relay denied the call: {}",
                        wire::kCallReasonTable[size_t(row.denied)].text),
            advice.hint, retry_after_ms};
  }
  const bool peers_word = row.end == CallEnd::kFailed || row.end == CallEnd::kPeerClosed;
  if (peers_word) return {why.code, status_name(row.status), status_text(row.status), ""};
  return {why.code, why.name, why.text, ""};
}

}  // namespace sluice::agent
