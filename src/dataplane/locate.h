// The first of the lookup passes: which session a DATA packet names, and its lines on their way
// from memory while the rest of the burst is still being parsed.
#pragma once

#include "base/prefetch.h"
#include "dataplane/burst.h"
#include "dataplane/context.h"

namespace sluice::dataplane {

// Bytes of a packet that are asked for; as much as 1,536 gained nothing more.
inline constexpr size_t kTextAhead = 320;

// `s.session` stays null if there is no such slot, `s.window` if there is no such lane.
inline void locate(const Tables& t, Slot& s) noexcept {
  const uint8_t* outer = s.outer;
  const uint64_t counter = load_le<uint64_t>(outer + 8);
  const uint32_t receiver = load_le<uint32_t>(outer + 4);
  s.session_index = receiver;
  s.sequence = counter & wire::kSequenceMask;
  s.lane = static_cast<uint8_t>(counter >> wire::kSequenceBits);
  // Index 0 is never given out: in a HELLO it means "no session yet".
  if (receiver - 1 >= t.session_count - 1) return;
  s.session = &t.sessions[receiver];
  prefetch(s.session);
  if (s.lane >= t.lanes_in) return;
  s.window = t.window(receiver, s.lane);
  s.window->prefetch(s.sequence);
  // What the NIC or another core wrote and the AEAD is about to change. The first line came with
  // the headers; of a long packet the processor itself fetches the rest once it sees the first
  // ones.
  const uint8_t* text = outer + wire::kDataRegion;
  prefetch_to_change(text + sizeof(wire::FrameHeader) - 1);
  const uint8_t* end = outer + s.size;
  if (load_le<uint16_t>(outer + 2) == sizeof(wire::FrameHeader)) {
    prefetch(end - 16);
    return;
  }
  for (const uint8_t* at = text + 64; at < end && at < text + kTextAhead; at += 64) {
    prefetch_to_change(at);
  }
}

}  // namespace sluice::dataplane
