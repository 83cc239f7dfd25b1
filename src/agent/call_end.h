// How calls end: what CALL_ACCEPT and the end of a stream can say in their status, and what this
// side makes of it. Both lists are in docs/calls.md; numbers are on the wire and for good.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"

namespace sluice::agent {

// Of CALL_ACCEPT.
enum class AcceptStatus : uint16_t { kAccepted = 0, kNotServed = 1, kBusy = 2, kNotAcceptable = 3 };

// Of a stream's end and of CALL_CLOSE. 0 is success, 1 to 255 the program's exit status, 256 + n
// the signal that ended it; X(enumerator, number, name, sentence) what the agents themselves say.
#define SLUICE_CALL_STATUSES(X)                                                                    \
  X(kCancelled, 512, "cancelled", "the caller gave it up")                                         \
  X(kProgramTimeout, 513, "program_timeout", "the peer's program ran out of time and was stopped") \
  X(kResponseTooLarge, 514, "response_too_large", "the response is larger than 16 MiB")            \
  X(kServerGone, 515, "server_gone", "the program that served it at the peer has ended")           \
  X(kUnknownCall, 516, "unknown_call", "the peer knows no such call: its daemon has restarted")    \
  X(kBadStream, 517, "bad_stream", "what arrived is not what the envelope or the protocol says")   \
  X(kNotStarted, 518, "not_started", "the peer's program could not be started")                    \
  X(kSilent, 519, "silent", "nothing came from the other side for too long")                       \
  X(kNoMemory, 520, "no_memory", "the other side holds as much unread as it may")                  \
  X(kStreamReset, 521, "stream_reset", "the streams between the two agents began anew")            \
  X(kUpstreamReset, 522, "upstream_reset", "the peer's server broke off its answer")

enum class CallStatus : uint16_t {
  kOk = 0,
#define X(id, number, name, text) id = number,
  SLUICE_CALL_STATUSES(X)
#undef X
};

inline constexpr uint16_t kMostExitStatus = 255;
inline constexpr uint16_t kSignalStatus = 256;  // + its number
// What a serving program may report.
inline constexpr uint16_t kLastServerStatus = 511;

// "exit status 3", "signal 9", or the list's sentence.
std::string status_text(uint16_t status);
// "exit_status", "signal", or the list's name.
const char* status_name(uint16_t status);

// X(enumerator, name, error code, sentence): why a call is over, as its caller sees it.
#define SLUICE_CALL_ENDS(X)                                                                     \
  X(kNone, "none", kInternal, "it goes on")                                                     \
  X(kDone, "done", kInternal, "the peer has answered")                                          \
  X(kFailed, "failed", kCallFailed, "the peer took the call and did not succeed")               \
  X(kDenied, "denied", kRefused, "the relay denied it")                                         \
  X(kNotServed, "not_served", kUnreachable,                                                     \
    "the peer is connected, but nobody serves calls there: sluice-agent serve has to run")      \
  X(kBusy, "busy", kResource, "the peer serves as many calls as it can: try again later")       \
  X(kNotAcceptable, "not_acceptable", kRefused,                                                 \
    "the peer does not take this envelope: compare the clocks of both hosts")                   \
  X(kNoAnswer, "no_answer", kTimeout,                                                           \
    "neither relay nor peer answered while the envelope held: is the peer connected?")          \
  X(kNotApproved, "not_approved", kTimeout, "nobody approved it while the envelope held")       \
  X(kTimeout, "timeout", kTimeout, "no response within the time that was given")                \
  X(kPeerSilent, "peer_silent", kTimeout, "nothing came from the peer any more")                \
  X(kPeerClosed, "peer_closed", kCallFailed, "the peer closed the call before it had answered") \
  X(kNoKeys, "no_keys", kTimeout, "the peer did not answer the end-to-end handshake")           \
  X(kRelayRestarted, "relay_restarted", kUnreachable,                                           \
    "the relay restarted during the call; whether the peer acted on it is not known")           \
  X(kEdgeEnded, "edge_ended", kRefused, "the trust with the peer ended during the call")        \
  X(kCancelled, "cancelled", kCallFailed, "this side gave it up")                               \
  X(kBadStream, "bad_stream", kCallFailed, "the peer's response contradicts itself")            \
  X(kNoMemory, "no_memory", kResource, "this agent holds as much unread as it may")             \
  X(kStreamReset, "stream_reset", kCallFailed,                                                  \
    "the peer's daemon restarted during the call; whether the peer acted on it is not known")

enum class CallEnd : uint8_t {
#define X(id, name, code, text) id,
  SLUICE_CALL_ENDS(X)
#undef X
};

struct CallEndInfo {
  const char* name;
  ErrorCode code;
  const char* text;
};
inline constexpr CallEndInfo kCallEndTable[] = {
#define X(id, name, code, text) {name, ErrorCode::code, text},
    SLUICE_CALL_ENDS(X)
#undef X
};
constexpr const CallEndInfo& info(CallEnd end) {
  return kCallEndTable[static_cast<size_t>(end)];
}

}  // namespace sluice::agent
