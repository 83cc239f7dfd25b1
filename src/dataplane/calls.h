// A worker's part in calls (docs/protocol.md §7): frames that wait for a signature, what verifies
// them, the pages that its agents' calls take. And the steps that `authorize` hands call frames to.
// One per worker, used by its thread alone.
#pragma once

#include <memory>
#include <vector>

#include "audit/record.h"
#include "base/spsc_ring.h"
#include "crypto/ed25519_batch.h"
#include "dataplane/burst.h"
#include "fabric/arena.h"
#include "wire/call.h"

namespace sluice::dataplane {

struct Context;

struct WaitingFrame {
  Slot slot;
  uint32_t generation = 0;  // of the session, which may end meanwhile
  uint32_t agent = 0;       // the sender
  uint64_t call_id = 0;
  uint64_t since = 0;         // ticks
  bool signed_frame = false;  // CALL_OPEN or CALL_ACCEPT; else CALL_DATA behind one
};

// Frames in the order in which they came. Bounded; what waits longest leaves first.
class WaitingFrames {
 public:
  bool full() const noexcept { return count_ == fabric::kWaitingCalls; }
  unsigned size() const noexcept { return count_; }
  WaitingFrame& push() noexcept { return frames_[(first_ + count_++) % fabric::kWaitingCalls]; }
  WaitingFrame& front() noexcept { return frames_[first_]; }
  void pop() noexcept {
    first_ = (first_ + 1) % fabric::kWaitingCalls;
    --count_;
  }

  struct Found {
    bool signed_frame = false;  // one that decides the call waits
    unsigned data = 0;          // and so many behind it
  };
  Found look_for(uint32_t agent, uint64_t call_id) const noexcept;

 private:
  std::unique_ptr<WaitingFrame[]> frames_{new WaitingFrame[fabric::kWaitingCalls]};
  unsigned first_ = 0;
  unsigned count_ = 0;
};

struct CallDesk {
  static constexpr unsigned kSlice = 8;  // signatures at a time: so many cost as much as one

  // Pages are divided among the workers at first; later they go where their agents go.
  CallDesk(unsigned worker, unsigned workers, const fabric::Arena& arena);

  crypto::Ed25519BatchVerifier verifier;
  WaitingFrames waiting;
  std::vector<uint32_t> free_pages;  // never grows beyond what is reserved
  uint32_t swept_page = 0;           // where the look for calls that are over stands
  uint32_t swept_slot = 0;
  uint8_t messages[kSlice][256];  // what was signed
};

// A CALL_OPEN over an edge that `check_edge` closed: says so, where the caller may know.
void deny_closed(Context& c, Slot& s) noexcept;
// Any call frame over an edge that stands. After it the slot is to be forwarded, waits, or died.
void pass_call_frame(Context& c, Slot& s) noexcept;
// Verifies one slice of what waits and makes a burst of it, to be authorised again. 0: nothing
// waits.
unsigned take_verified(Context& c, Burst& b) noexcept;
// Ends calls that both sides closed, that were idle for their time, or whose edge is gone; a few
// records a round.
void sweep_calls(Context& c) noexcept;

// Of a worker's round. 0 where control has never published.
int64_t unix_ms_of(const Context& c) noexcept;

// Peer's session and, unless it was charged before, the rates; then the slot is to be forwarded.
// `charged`: a CALL_OPEN whose signature was verified since.
void forward_call_frame(Context& c, Slot& s, bool charged) noexcept;
// Edge, agent and tenant; kNone: it conforms.
fabric::DropReason charge_call(Context& c, Slot& s) noexcept;

}  // namespace sluice::dataplane
