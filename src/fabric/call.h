// Calls in the arena (docs/protocol.md §7): who has one open, and what an agent may not use twice.
// An agent that opens calls has a page: its records and its idempotency keys, in the arena, taken
// from and given back to a list of its owner worker's. Pages move with their agent.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "fabric/counters.h"
#include "fabric/records.h"
#include "wire/call.h"

namespace sluice::fabric {

// Bounds of calls (docs/protocol.md §7), fixed at start: the configuration's calls: section.
struct CallOptions {
  int64_t skew_ms = 30'000;            // between an envelope's time and the relay's clock
  uint64_t longest_life_ms = 300'000;  // of an envelope
  uint64_t idle_ms = 60'000;           // after which a call is over
  // A circuit opens when so many in a hundred, 0: never, of so many calls, 1 to 255, that ended
  // within that time failed; and lets one call try after that other time.
  uint8_t circuit_percent = 50;
  uint8_t circuit_calls = 20;
  uint32_t circuit_within_ms = 60'000;
  uint32_t circuit_open_ms = 10'000;
};

enum class CallState : uint32_t {
  kFree = 0,
  kOpen = 1,
  kEnded = 2,  // nothing goes over it any more; its slot waits for a grace period
  // Its signature holds, and somebody has to approve it: the caller's message id and key are used
  // up, and nothing has been forwarded.
  kParked = 3,
};

// One open call. Each side's line is written by the owner of that side's agent alone; the caller's
// owner makes and ends the record.
struct alignas(64) CallRecord {
  // Line 0. The caller's owner. Everything but `state` and the counters stays as it is until the
  // slot is free again, so who has seen kOpen may read it in that round.
  std::atomic<uint32_t> state{0};  // CallState
  uint32_t label = 0;              // the caller's edge
  uint64_t call_id = 0;
  uint64_t opened = 0;  // ticks
  uint64_t last = 0;    // ticks of the caller's last packet
  Counter packets;      // CALL_DATA to the callee
  Counter bytes;
  uint64_t token = 0;   // kEnded: of the grace period
  uint8_t repeats = 0;  // CALL_OPENs forwarded again
  uint8_t closed = 0;   // the caller said CALL_CLOSE
  uint16_t status = 0;  // with that
  uint8_t judged = 0;   // its outcome was told to the edge's circuit
  uint8_t probe = 0;    // it is the one that a half-open circuit let through
  uint8_t closes = 0;   // CALL_CLOSEs of the caller
  uint8_t reserved0 = 0;
  // Line 1. The callee's owner.
  std::atomic<uint32_t> accepted{0};     // 0: no answer yet; else 1 + the answer's status
  std::atomic<uint32_t> closed_back{0};  // 1 + status of the callee's CALL_CLOSE
  std::atomic<uint64_t> last_back{0};    // ticks
  Counter packets_back;
  Counter bytes_back;
  uint32_t repeats_back = 0;  // CALL_ACCEPTs verified again
  uint32_t closes_back = 0;   // CALL_CLOSEs of the callee
  uint8_t reserved1[24] = {};
  // Lines 2 to 5. The caller's owner, before it is published.
  wire::Envelope envelope{};
  uint8_t reserved2[48] = {};
};
static_assert(sizeof(CallRecord) == 384 && offsetof(CallRecord, accepted) == 64 &&
              offsetof(CallRecord, envelope) == 128);

// A key in use, as a keyed hash of it: who cannot foresee the hash cannot make two keys meet.
struct IdempotencyKey {
  uint64_t tag = 0;
  uint64_t until = 0;  // ticks; 0: free
};
static_assert(sizeof(IdempotencyKey) == 16);

// A bounded table of keys. A key stands in one of two lines, at first in the one that has more
// room: a table which is half full then refuses one key in 150,000, where in one run of eight
// places it would be one in 200. The agent's owner.
class IdempotencyKeys {
 public:
  static constexpr uint32_t kInLine = 4;
  static constexpr uint32_t kProbes = 2 * kInLine;
  static_assert(sizeof(IdempotencyKey) * kInLine == 64);

  // `slots`: a power of two, at least kProbes; they begin with a cache line.
  IdempotencyKeys(IdempotencyKey* keys, uint32_t slots) noexcept : keys_(keys), mask_(slots - 1) {}

  bool contains(uint64_t tag, uint64_t now) const noexcept {
    for (const IdempotencyKey* line : lines(tag)) {
      for (uint32_t i = 0; i < kInLine; ++i) {
        if (line[i].tag == tag && line[i].until > now) return true;
      }
    }
    return false;
  }
  // Null: every place that it could take is in use.
  IdempotencyKey* room(uint64_t tag, uint64_t now) const noexcept {
    IdempotencyKey* out = nullptr;
    uint32_t most = 0;
    for (IdempotencyKey* line : lines(tag)) {
      uint32_t free = 0, last = 0;
      for (uint32_t i = 0; i < kInLine; ++i) {
        if (line[i].until > now) continue;
        ++free;
        last = i;
      }
      if (free <= most) continue;
      most = free;
      out = &line[last];
    }
    return out;
  }

 private:
  std::array<IdempotencyKey*, 2> lines(uint64_t tag) const noexcept {
    const uint32_t begins = mask_ & ~(kInLine - 1);
    const uint32_t first = static_cast<uint32_t>(tag >> 8) & begins;
    const uint32_t other = static_cast<uint32_t>(tag >> 36) & begins;
    return {keys_ + first, keys_ + (other == first ? first ^ kInLine : other)};
  }

  IdempotencyKey* keys_;
  uint32_t mask_;
};

// An agent's records: looked for within kProbes places from its call id on.
class CallTable {
 public:
  static constexpr uint32_t kProbes = 8;

  CallTable(CallRecord* records, uint32_t slots) noexcept : records_(records), mask_(slots - 1) {}

  // The open call of that id over the edge of that label; null: there is none. Any worker.
  CallRecord* find(uint64_t call_id, uint32_t label) const noexcept {
    for (uint32_t i = 0; i < kProbes; ++i) {
      CallRecord& r = records_[(call_id + i) & mask_];
      if (r.state.load(std::memory_order_acquire) == uint32_t(CallState::kOpen) &&
          r.call_id == call_id && r.label == label) {
        return &r;
      }
    }
    return nullptr;
  }
  // One that waits for an approval. The caller's owner.
  CallRecord* find_parked(uint64_t call_id, uint32_t label) const noexcept {
    for (uint32_t i = 0; i < kProbes; ++i) {
      CallRecord& r = records_[(call_id + i) & mask_];
      if (r.state.load(std::memory_order_acquire) == uint32_t(CallState::kParked) &&
          r.call_id == call_id && r.label == label) {
        return &r;
      }
    }
    return nullptr;
  }
  CallRecord* room(uint64_t call_id) const noexcept {
    for (uint32_t i = 0; i < kProbes; ++i) {
      CallRecord& r = records_[(call_id + i) & mask_];
      if (r.state.load(std::memory_order_relaxed) == uint32_t(CallState::kFree)) return &r;
    }
    return nullptr;
  }
  // Frees one of the places that `room` looks at, if it has ended and `passed(token)`.
  template <typename Passed>
  bool reclaim(uint64_t call_id, Passed&& passed) const noexcept {
    for (uint32_t i = 0; i < kProbes; ++i) {
      CallRecord& r = records_[(call_id + i) & mask_];
      if (r.state.load(std::memory_order_relaxed) == uint32_t(CallState::kEnded) &&
          passed(r.token)) {
        r.state.store(uint32_t(CallState::kFree), std::memory_order_release);
        return true;
      }
    }
    return false;
  }
  CallRecord& at(uint32_t slot) const noexcept { return records_[slot]; }
  uint32_t slots() const noexcept { return mask_ + 1; }

 private:
  CallRecord* records_;
  uint32_t mask_;
};

}  // namespace sluice::fabric
