// Signatures of calls on a core of their own, so that a worker's packets never wait behind one
// (cores.verifiers). A worker asks, by a place in its queue, and finds the verdict there; frames
// wait at the worker meanwhile, in their order. The verdict says that a signature holds, nothing
// else: the worker authorises what it takes up again.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "crypto/ed25519_batch.h"
#include "fabric/arena.h"
#include "fabric/mailbox.h"
#include "fabric/rcu.h"

namespace sluice::dataplane {

enum class AskState : uint32_t { kNone = 0, kAsked = 1, kBad = 2, kGood = 3 };

// Handed over by `state`: the verifier reads it while it is kAsked and writes nothing but that.
struct alignas(64) VerifyRequest {
  std::atomic<uint32_t> state{0};  // AskState
  uint32_t agent = 0;              // whose prepared key it is, looked up by who verifies
  uint32_t size = 0;
  uint32_t reserved = 0;
  crypto::PublicKey key{};
  crypto::Signature signature{};
  ByteArray<256> message{};
};

// One worker's, of as many places as frames that it lets wait, so it is never full. Asked in the
// order of the places.
class VerifyQueue {
 public:
  // The worker: the next place, to be filled and then asked.
  VerifyRequest& next() noexcept { return requests_[asked_ % fabric::kWaitingCalls]; }
  uint32_t ask() noexcept {
    const uint32_t place = asked_++ % fabric::kWaitingCalls;
    requests_[place].state.store(uint32_t(AskState::kAsked), std::memory_order_release);
    return place;
  }
  VerifyRequest& at(uint32_t place) noexcept { return requests_[place]; }

  // The verifier: the oldest that it has not answered; null: there is none.
  VerifyRequest* oldest(uint32_t ahead) noexcept {
    VerifyRequest& r = requests_[(answered_ + ahead) % fabric::kWaitingCalls];
    return r.state.load(std::memory_order_acquire) == uint32_t(AskState::kAsked) ? &r : nullptr;
  }
  void answered(uint32_t count) noexcept { answered_ += count; }

 private:
  std::unique_ptr<VerifyRequest[]> requests_{new VerifyRequest[fabric::kWaitingCalls]};
  alignas(64) uint32_t asked_ = 0;     // the worker
  alignas(64) uint32_t answered_ = 0;  // the verifier
};

// The job of a request. Its prepared key may be another one once the thread that asks this has
// passed a quiescent point.
inline crypto::VerifyJob job_of(const fabric::Arena& arena, const VerifyRequest& r) noexcept {
  const uint32_t prepared = arena.agents()[r.agent].prepared.load(std::memory_order_acquire);
  return {.key = &r.key,
          .message = {r.message.data(), r.size},
          .signature = &r.signature,
          .prepared = prepared == fabric::kNone ? nullptr : &arena.prepared_keys()[prepared]};
}

// Serves the queues of some workers. Built by the main thread, then used by its own lcore alone.
class Verifier {
 public:
  static constexpr unsigned kSlice = 8;  // signatures at a time: so many cost as much as one

  // `number`: its thread of `qsbr`, which guards the prepared keys that it reads.
  Verifier(unsigned number, fabric::Arena& arena, fabric::Qsbr& qsbr, bool may_sleep)
      : number_(number), arena_(arena), qsbr_(qsbr), may_sleep_(may_sleep) {}
  void serve(VerifyQueue& queue) { queues_.push_back(&queue); }

  // One slice. Returns how many signatures it verified.
  unsigned poll_once() noexcept;
  void run(const std::atomic<bool>& stop) noexcept;

 private:
  const unsigned number_;
  fabric::Arena& arena_;
  fabric::Qsbr& qsbr_;
  const bool may_sleep_;
  crypto::Ed25519BatchVerifier verifier_;
  std::vector<VerifyQueue*> queues_;
  unsigned first_ = 0;  // whose turn it is
};

}  // namespace sluice::dataplane
