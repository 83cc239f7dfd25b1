// The frame header at the start of DATA's sealed region, and which frames may come from whom
// (wire.md §3). Label: slot (24 bits) | generation (8 bits), slot in the low bits.
#pragma once

#include "base/bytes.h"

namespace sluice::wire {

enum class FrameType : uint8_t {
  kKeepalive = 0,
  kDatagram = 1,
  kCallOpen = 2,
  kCallData = 3,
  kCallClose = 4,
  kCallAccept = 5,
  kCallDeny = 6,
  kControl = 7,
  kCredential = 8,
};
inline constexpr uint8_t kFrameTypes = 9;
inline constexpr const char* kFrameNames[] = {"KEEPALIVE", "DATAGRAM",   "CALL_OPEN",
                                              "CALL_DATA", "CALL_CLOSE", "CALL_ACCEPT",
                                              "CALL_DENY", "CONTROL",    "CREDENTIAL"};
static_assert(std::size(kFrameNames) == kFrameTypes);

enum class KeepaliveFlag : uint8_t { kPlain = 0, kPing = 1, kAnswer = 2 };

inline constexpr uint8_t kFlagReply = 1;
inline constexpr uint8_t kFlagCredentialed = 2;

#pragma pack(push, 1)
struct FrameHeader {
  uint8_t type;
  uint8_t flags;
  uint16_t extension_length;
  uint32_t label;
  uint64_t call_id;
};
#pragma pack(pop)
static_assert(sizeof(FrameHeader) == 16);

inline FrameHeader read_frame(const uint8_t* p) noexcept {
  return load_le<FrameHeader>(p);
}
inline void write_frame(uint8_t* p, const FrameHeader& h) noexcept {
  store_le(p, h);
}

inline constexpr uint32_t kMaxSlots = 1u << 24;
constexpr uint32_t make_label(uint32_t slot, uint8_t generation) {
  return (slot & (kMaxSlots - 1)) | uint32_t{generation} << 24;
}
constexpr uint32_t label_slot(uint32_t label) {
  return label & (kMaxSlots - 1);
}
constexpr uint8_t label_generation(uint32_t label) {
  return static_cast<uint8_t>(label >> 24);
}

inline constexpr size_t kEnvelopeSize = 208;
inline constexpr size_t kCallCloseSize = 16;
inline constexpr size_t kCallAcceptSize = 96;
inline constexpr size_t kCallDenySize = 24;
inline constexpr size_t kControlMax = 1200;

enum class FrameVerdict : uint8_t { kOk, kMalformed, kNotFromAgent, kUnknownType };

// Checks everything about a frame from an agent that its own bytes can tell: lengths by type, label
// and call id where they must be zero, flags. `region` is the sealed region plus the opaque rest.
FrameVerdict check_agent_frame(const FrameHeader& h, size_t after_header) noexcept;
// The same of a frame from a relay, which may send every type.
FrameVerdict check_relay_frame(const FrameHeader& h, size_t after_header) noexcept;

}  // namespace sluice::wire
