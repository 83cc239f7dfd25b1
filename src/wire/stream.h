// Messages on the streams of a pair of agents (docs/protocol.md §7), each one user message of SCTP.
// A call has one stream each way; what it is says the message that begins it.
//   flags (1) | 0 (1) | status (2; 0 unless `end`)
//   with `begin`: the call's id (8); key (32) where the caller begins
//   with `credit`: how many bytes the other direction may have carried in all (8)
//   the rest: the call's bytes
// Plain values, no state.
#pragma once

#include <optional>

#include "base/bytes.h"

namespace sluice::wire {

inline constexpr uint8_t kStreamBegin = 1;
inline constexpr uint8_t kStreamEnd = 2;
inline constexpr uint8_t kStreamCredit = 4;
inline constexpr uint8_t kStreamReply = 8;  // with `begin`: the callee's direction
inline constexpr size_t kStreamHeader = 4;
inline constexpr size_t kStreamKey = 32;
// What a message has at most before the call's bytes.
inline constexpr size_t kStreamOverhead = kStreamHeader + 8 + kStreamKey + 8;

struct StreamMessage {
  uint8_t flags = 0;
  uint16_t status = 0;
  uint64_t call_id = 0;
  uint64_t credit = 0;
  Bytes key;  // empty where there is none
  Bytes data;

  bool begins() const { return (flags & kStreamBegin) != 0; }
  bool ends() const { return (flags & kStreamEnd) != 0; }
  bool credits() const { return (flags & kStreamCredit) != 0; }
  bool reply() const { return (flags & kStreamReply) != 0; }
};

// Appends to `out`.
void write_stream(const StreamMessage& message, Buffer& out);
// Nothing: it is not of this form. The views are into `bytes`.
std::optional<StreamMessage> read_stream(Bytes bytes);

}  // namespace sluice::wire
