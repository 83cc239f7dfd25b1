// How a capture says that something in it was opened (docs/capture.md): the type's top bit, which
// no packet on a wire has. Everything else stays where it was: what was sealed is in clear in its
// place, and the tag is still there. Types of the tunnel's packets and of end-to-end messages.
#pragma once

#include <cstdint>

#include "wire/end_to_end.h"
#include "wire/tunnel.h"

namespace sluice::capture {

inline constexpr uint8_t kOpenedBit = 0x80;
inline constexpr uint8_t kOpenedData = uint8_t(wire::Type::kData) | kOpenedBit;
inline constexpr uint8_t kOpenedTransport = uint8_t(wire::E2eType::kTransport) | kOpenedBit;

}  // namespace sluice::capture
