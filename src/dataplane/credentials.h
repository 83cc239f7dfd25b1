// What the target of a call is given before its CALL_OPEN (docs/protocol.md §7): parts of a
// credential, in buffers of the worker's pool, just before the CALL_OPEN in the burst. Room is kept
// for them when a call is taken out of the line of those that wait, since a burst is full at times;
// so each CALL_OPEN that needs a credential waits in that line, with a signature to verify or not.
// The worker's thread.
#pragma once

#include "dataplane/calls.h"
#include "dataplane/context.h"
#include "fabric/credential.h"

namespace sluice::dataplane {

// What calls by `protocol` over `edge` need: a slot, or fabric::kNoCredential or
// kCredentialUnavailable.
inline uint32_t credential_of(const Tables& t, const fabric::Edge& edge,
                              uint8_t protocol) noexcept {
  if (protocol >= fabric::kCredentialProtocols) return fabric::kNoCredential;
  return t.credentials[edge.target].of[protocol].load(std::memory_order_acquire);
}
inline bool is_slot(uint32_t credential) noexcept {
  return credential < fabric::kCredentialUnavailable;
}
inline bool within_window(const fabric::CredentialSlot& slot, uint64_t now) noexcept {
  return slot.size != 0 && now < slot.until.load(std::memory_order_relaxed);
}

// Bytes that go before a call which needs that; they count against its caller's rates.
uint32_t bytes_before(const Context& c, uint32_t credential) noexcept;

// Of a CALL_OPEN that has come: asks memory for what says until when its credential may be used,
// and how long it is.
void prefetch_credential(const Context& c, const Slot& s) noexcept;
// Of a frame in the line: how many slots of a burst its credential takes, and the room itself.
Slot::Credential room_needed(const Context& c, const WaitingFrame& w) noexcept;
// False: there are no buffers.
bool keep_room(Context& c, Burst& b, unsigned frames) noexcept;

// Writes the parts before a CALL_OPEN that is to be forwarded, and says so in it. False: it cannot
// be, and died.
bool add_credential(Context& c, Slot& s, const wire::FrameHeader& f, uint8_t protocol) noexcept;

// Says to the target that this CALL_OPEN needs a credential.
inline void mark_credentialed(Slot& s) noexcept {
  s.outer[wire::kDataRegion + offsetof(wire::FrameHeader, flags)] |= wire::kFlagCredentialed;
}

// A part that dies before it is sealed leaves nothing in its buffer.
void wipe_unsealed(const Slot& s) noexcept;

}  // namespace sluice::dataplane
