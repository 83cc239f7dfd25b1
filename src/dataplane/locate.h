// The first of the lookup passes: which session a DATA packet names, and its lines on their way
// from memory while the rest of the burst is still being parsed.
#pragma once

#include "base/prefetch.h"
#include "dataplane/burst.h"
#include "dataplane/context.h"

namespace sluice::dataplane {

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
  // All that the header seal reads of a payload.
  if (load_le<uint16_t>(outer + 2) == sizeof(wire::FrameHeader)) {
    prefetch(outer + s.size - 16);
  }
}

}  // namespace sluice::dataplane
