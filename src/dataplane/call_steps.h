// What the files of calls share. The worker's thread.
#pragma once

#include "dataplane/call_limits.h"
#include "dataplane/calls.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {

inline wire::Envelope envelope_of(const Slot& s) noexcept {
  return load_le<wire::Envelope>(s.outer + wire::kDataRegion + sizeof(wire::FrameHeader));
}

// CALL_OPEN, new or with its signature verified.
void pass_open(Context& c, Slot& s) noexcept;

// An open or parked call is over: nothing goes over it any more. Its caller's owner.
void end_call(Context& c, fabric::Agent& caller, fabric::CallRecord& r,
              CallOutcome outcome) noexcept;

// CALL_OPEN and CALL_ACCEPT; those that do not fit die.
void wait_for_signature(Context& c, Slot& s, const wire::FrameHeader& f) noexcept;
// CALL_OPEN of a call that has been decided: for room for its credential (credentials.h).
void wait_for_room(Context& c, Slot& s, const wire::FrameHeader& f) noexcept;

}  // namespace sluice::dataplane
