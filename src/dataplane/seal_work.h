// What the AEAD covers of a DATA packet under either seal (wire.md §3). The header seal binds the
// last 16 bytes, which are the end-to-end tag, and the length: a changed tag or length is caught by
// the relay, a changed payload by the receiving agent.
#pragma once

#include "crypto/aead.h"
#include "dataplane/slot.h"

namespace sluice::dataplane {

inline constexpr size_t kHeaderSealAad = sizeof(wire::OuterHeader) + 16 + 2;

// The operations of a burst, and room for the additional data that does not stand in the packet.
struct SealWork {
  crypto::AeadOp ops[fabric::kMaxBurst];
  Slot* slots[fabric::kMaxBurst];
  uint8_t aad[fabric::kMaxBurst][40];
  unsigned count = 0;  // set by who filled them

  // The outer header must be final.
  void put(unsigned at, Slot& s, const crypto::GcmKey& key, const uint8_t* salt) noexcept {
    crypto::AeadOp& op = ops[at];
    uint8_t* outer = s.outer;
    const uint32_t size = s.size;
    slots[at] = &s;
    op.key = &key;
    op.tag = outer + sizeof(wire::OuterHeader);
    op.text = outer + wire::kDataRegion;
    std::memcpy(op.nonce, salt, 4);
    std::memcpy(op.nonce + 4, outer + 8, 8);
    if (s.header_seal) {
      uint8_t* a = aad[at];
      std::memcpy(a, outer, sizeof(wire::OuterHeader));
      std::memcpy(a + sizeof(wire::OuterHeader), outer + size - 16, 16);
      store_le(a + sizeof(wire::OuterHeader) + 16, static_cast<uint16_t>(size));
      op.aad = a;
      op.aad_size = kHeaderSealAad;
      op.text_size = sizeof(wire::FrameHeader);
    } else {
      op.aad = outer;
      op.aad_size = sizeof(wire::OuterHeader);
      op.text_size = size - uint32_t{wire::kDataRegion};
    }
  }
};

}  // namespace sluice::dataplane
