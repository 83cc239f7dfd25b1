// What traffic carries behind the frame header where it has room: whose packet it is, which one,
// and in which burst it left, by which its time of sending is found; and 16 bytes at the end that
// stand for the end-to-end tag. The relay sees none of it.
#pragma once

#include "pktgen/traffic.h"

namespace sluice::pktgen {

inline constexpr uint32_t kMagic = 0x676b7473;  // "stkg"

#pragma pack(push, 1)
struct Stamp {
  uint32_t magic;
  uint32_t flow;
  uint64_t sequence;  // of the flow
  uint64_t burst;     // device in the top 8 bits
};
#pragma pack(pop)
static_assert(sizeof(Stamp) == kStampSize);

constexpr bool has_stamp(size_t payload) {
  return payload >= kStampSize;
}
constexpr bool has_trailer(size_t payload) {
  return payload >= kStampSize + kTrailerSize;
}
// The payload of a probe, where the traffic's own has no room for a stamp.
inline constexpr uint16_t kProbePayload = kStampSize + kTrailerSize;

constexpr uint64_t make_burst(uint8_t device, uint64_t number) {
  return uint64_t{device} << 56 | (number & ((uint64_t{1} << 56) - 1));
}

inline void write_trailer(uint8_t* end, uint32_t flow, uint64_t sequence) noexcept {
  store_le(end - 16, sequence ^ 0x5a5a5a5a5a5a5a5aull);
  store_le(end - 8, uint64_t{flow} << 32 | kMagic);
}
inline bool trailer_holds(const uint8_t* end, uint32_t flow, uint64_t sequence) noexcept {
  return load_le<uint64_t>(end - 16) == (sequence ^ 0x5a5a5a5a5a5a5a5aull) &&
         load_le<uint64_t>(end - 8) == (uint64_t{flow} << 32 | kMagic);
}

}  // namespace sluice::pktgen
