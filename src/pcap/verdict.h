// What is wrong with a packet of the tunnel, as far as its own bytes and its direction can tell:
// words of sluice-pcap and of the Wireshark dissector alike, the first that applies. What only the
// receiver can know (sessions, replays, edges) is not among them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::capture {

// X(enumerator, name, sentence)
#define SLUICE_CAPTURE_VERDICTS(X)                                                                \
  X(kOk, "ok", "of a form that the protocol knows")                                               \
  X(kTruncated, "truncated", "the capture has only a part of it: capture with -s 0")              \
  X(kShort, "short", "shorter than the outer header's 16 bytes")                                  \
  X(kBadType, "bad_type", "of no type that there is")                                             \
  X(kBadVersion, "bad_version", "of another version than 1")                                      \
  X(kUnexpectedType, "unexpected_type", "of a type that does not go in this direction")           \
  X(kMalformed, "malformed", "its sizes, or what must be zero, contradict its type")              \
  X(kFrameUnknown, "frame_unknown", "a frame of no type that there is")                           \
  X(kFrameNotAllowed, "frame_not_allowed", "a frame that only relays send")                       \
  X(kFrameMalformed, "frame_malformed", "a frame whose flags, label, call id or sizes are wrong") \
  X(kEnvelopeMalformed, "envelope_malformed", "an envelope that contradicts itself or its frame") \
  X(kNotZero, "not_zero", "bytes that must be zero are not")                                      \
  X(kE2eMalformed, "e2e_malformed", "no end-to-end message stands where one belongs")

enum class Verdict : uint8_t {
#define X(id, name, text) id,
  SLUICE_CAPTURE_VERDICTS(X)
#undef X
};

struct VerdictInfo {
  const char* name;
  const char* text;
};
inline constexpr VerdictInfo kVerdictTable[] = {
#define X(id, name, text) {name, text},
    SLUICE_CAPTURE_VERDICTS(X)
#undef X
};
constexpr const VerdictInfo& info(Verdict v) {
  return kVerdictTable[static_cast<size_t>(v)];
}

}  // namespace sluice::capture
