// The frame that carries an end-to-end message, as far as the message's AAD covers it
// (docs/protocol.md §6): a DATAGRAM, or CALL_DATA of one call. Plain value.
#pragma once

#include <cstdint>

#include "wire/frame.h"

namespace sluice::agent {

struct Carrier {
  uint8_t frame = uint8_t(wire::FrameType::kDatagram);
  uint8_t flags = 0;
  uint64_t call_id = 0;

  bool is_call() const { return frame == uint8_t(wire::FrameType::kCallData); }
  // `flags`: kFlagReply in what the callee sends.
  static Carrier call(uint64_t call_id, uint8_t flags) {
    return {uint8_t(wire::FrameType::kCallData), flags, call_id};
  }
  // What the other side answers in.
  Carrier back() const {
    return is_call() ? call(call_id, uint8_t(flags ^ wire::kFlagReply)) : Carrier{};
  }
};

}  // namespace sluice::agent
