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
#include "dataplane/verifier.h"
#include "fabric/arena.h"
#include "wire/call.h"

namespace sluice::dataplane {

struct Context;

struct WaitingFrame {
  Slot slot;
  uint32_t generation = 0;  // of the session, which may end meanwhile
  uint32_t agent = 0;       // the sender
  uint64_t call_id = 0;
  uint32_t label = 0;
  uint8_t reply = 0;          // which of the two calls of that id
  uint64_t since = 0;         // ticks
  bool signed_frame = false;  // CALL_OPEN or CALL_ACCEPT; else what came behind one
  uint32_t request = 0;       // where a verifier core was asked

  bool is_of(uint32_t agent_index, const wire::FrameHeader& f) const noexcept {
    return agent == agent_index && call_id == f.call_id && label == f.label &&
           reply == (f.flags & wire::kFlagReply);
  }
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
    const Slot* signed_frame = nullptr;  // one that decides the call
    unsigned data = 0;                   // what waits behind it
  };
  Found look_for(uint32_t agent, const wire::FrameHeader& f) const noexcept;

 private:
  std::unique_ptr<WaitingFrame[]> frames_{new WaitingFrame[fabric::kWaitingCalls]};
  unsigned first_ = 0;
  unsigned count_ = 0;
};

struct CallDesk {
  static constexpr unsigned kSlice = 8;  // signatures at a time: so many cost as much as one

  // Every page has a home, the worker whose agents may take it; it comes back there, wherever its
  // agent has gone meanwhile.
  CallDesk(unsigned worker, unsigned workers, const fabric::Arena& arena);
  bool is_home(uint32_t page) const noexcept { return page % workers == worker; }
  uint32_t take_page() noexcept {
    const uint32_t page = free_pages.back();
    free_pages.pop_back();
    listed[page] = 0;
    return page;
  }

  crypto::Ed25519BatchVerifier verifier;
  VerifyQueue* verifier_core = nullptr;  // where there is one; else signatures are verified here
  WaitingFrames waiting;
  const unsigned worker, workers;
  std::vector<uint32_t> free_pages;  // never grows beyond what is reserved
  std::vector<uint8_t> listed;       // by page: it is among them
  uint32_t swept_page = 0;           // where the look for calls that are over stands
  uint32_t swept_slot = 0;
  // A slice waits as long as the last one took, unless there is nothing else to do: signatures get
  // half of a worker at most.
  uint64_t slice_ended = 0;
  uint64_t slice_took = 0;
  VerifyRequest slice[kSlice];  // what is verified here
};

// A CALL_OPEN over an edge that `check_edge` closed: says so, where the caller may know.
void deny_closed(Context& c, Slot& s) noexcept;
// Of a call frame, in two passes: asks memory for what the decision on it needs.
void prefetch_caller(const Context& c, const Slot& s) noexcept;
void prefetch_call(const Context& c, const Slot& s) noexcept;
// Any call frame over an edge that stands. After it the slot is to be forwarded, waits, or died.
void pass_call_frame(Context& c, Slot& s) noexcept;
// Verifies one slice of what waits and makes a burst of it, to be authorised again. 0: nothing
// waits, or it is not its turn. `idle`: the round has found nothing else to do.
unsigned take_verified(Context& c, Burst& b, bool idle) noexcept;
// Ends calls that both sides closed, that were idle for their time, or whose edge is gone; a few
// records a round.
void sweep_calls(Context& c) noexcept;

// Of a worker's round. 0 where control has never published.
int64_t unix_ms_of(const Context& c) noexcept;

// Peer's session and, unless it was charged before, the rates; then the slot is to be forwarded.
// `charged`: a CALL_OPEN whose signature was verified since.
void forward_call_frame(Context& c, Slot& s, bool charged) noexcept;
// Whether a frame for the edge's target could leave now.
bool can_reach(const Context& c, const Slot& s) noexcept;
inline bool can_send(const fabric::Session& out, uint64_t now) noexcept {
  return out.state.load(std::memory_order_acquire) == uint32_t(fabric::SessionState::kConfirmed) &&
         now < out.expires;
}
// Edge, agent and tenant, for the frame and bytes that go before it; kNone: it conforms.
fabric::DropReason charge_call(Context& c, Slot& s, uint32_t before_it = 0) noexcept;

}  // namespace sluice::dataplane
