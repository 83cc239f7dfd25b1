// What calls over one edge are held to beyond its rights, for the edges that have such limits: how
// many a second, at once and in a period, and which of them somebody has to approve. In the arena.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "fabric/rate.h"

namespace sluice::fabric {

struct alignas(64) EdgeCalls {
  static constexpr size_t kMostScopes = 4;
  static constexpr size_t kQuotas = 2;  // the operator's, and the grant's

  // Line 0. Control, while no edge names it; `opens_at` at any time.
  std::atomic<uint64_t> opens_at{0};          // ticks: when its window opens again; 0: not known
  uint64_t approve_scopes[kMostScopes] = {};  // zeros behind the last
  uint32_t quota_calls[kQuotas] = {};         // in a period; 0: any number
  uint32_t quota_s[kQuotas] = {};             // the period
  uint16_t at_once = 0;                       // open calls; 0: as many as the caller may have
  uint8_t approve_capabilities = 0;           // bits of wire/call.h
  uint8_t reserved0[5] = {};
  // Line 1. The owner of the edge's source. A period begins with its first call.
  CallBucket bucket;                                // its limit: control
  std::atomic<uint64_t> period_ends[kQuotas] = {};  // ticks; control reads these
  std::atomic<uint32_t> used[kQuotas] = {};         // calls in it
  uint8_t reserved1[24] = {};

  // In how many ticks one more call may be opened, by its quotas: 0 is now.
  uint64_t exhausted_for(uint64_t now) const noexcept {
    uint64_t wait = 0;
    for (size_t q = 0; q < kQuotas; ++q) {
      const uint64_t ends = period_ends[q].load(std::memory_order_relaxed);
      if (quota_calls[q] == 0 || now >= ends ||
          used[q].load(std::memory_order_relaxed) < quota_calls[q]) {
        continue;
      }
      wait = std::max(wait, ends - now);
    }
    return wait;
  }
  void use(uint64_t now, uint64_t hz) noexcept {
    for (size_t q = 0; q < kQuotas; ++q) {
      if (quota_calls[q] == 0) continue;
      uint32_t n = used[q].load(std::memory_order_relaxed);
      if (now >= period_ends[q].load(std::memory_order_relaxed)) {
        period_ends[q].store(now + quota_s[q] * hz, std::memory_order_relaxed);
        n = 0;
      }
      used[q].store(n + 1, std::memory_order_relaxed);
    }
  }
};
static_assert(sizeof(EdgeCalls) == 128 && offsetof(EdgeCalls, bucket) == 64);

}  // namespace sluice::fabric
