// Token buckets in the form of the generic cell rate algorithm (ITU-T I.371, virtual scheduling):
// the state of a bucket is the tick at which it would be full again. A packet conforms while that
// lies at most `burst_ticks` ahead; the packet that reaches into the burst still passes, whatever
// its size. Limits are written by control before they are named by an agent or edge, and states by
// the agent's owner worker alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "fabric/counters.h"

namespace sluice::fabric {

// 0: this measure is not limited. Whole ticks a packet: at 10 million packets a second a limit is
// rounded down by at most 0.4 %.
struct RateLimit {
  uint64_t ticks_per_packet = 0;
  uint64_t ticks_per_byte_q16 = 0;  // 2^-16 ticks
  uint64_t burst_ticks = 0;
  uint64_t reserved = 0;
};
static_assert(sizeof(RateLimit) == 32);

struct RateState {
  uint64_t packets_at = 0;
  uint64_t bytes_at = 0;
};

// What `state` would become if a packet of `bytes` passed now; false if it does not conform.
inline bool conforms(const RateLimit& limit, const RateState& state, uint64_t now, uint32_t bytes,
                     RateState& next) noexcept {
  const uint64_t packets = std::max(state.packets_at, now);
  const uint64_t octets = std::max(state.bytes_at, now);
  next.packets_at = packets + limit.ticks_per_packet;
  next.bytes_at = octets + (bytes * limit.ticks_per_byte_q16 >> 16);
  return std::max(packets, octets) - now <= limit.burst_ticks;
}

// A worker's share of one tenant's limit. Control divides the limit among the workers by what each
// was offered, again and again; all shares together never exceed it.
struct alignas(64) TenantShare {
  // Control. 0 in both rates: no limit.
  std::atomic<uint64_t> ticks_per_packet{0};
  std::atomic<uint64_t> ticks_per_byte_q16{0};
  std::atomic<uint64_t> burst_ticks{0};
  // The worker.
  RateState state;
  Counter offered_packets;
  Counter offered_bytes;
  uint64_t reserved = 0;

  RateLimit limit() const noexcept {
    return {ticks_per_packet.load(std::memory_order_relaxed),
            ticks_per_byte_q16.load(std::memory_order_relaxed),
            burst_ticks.load(std::memory_order_relaxed), 0};
  }
};
static_assert(sizeof(TenantShare) == 64);

// Of a limit of 0 packets or bytes a second there is no limit of that measure.
inline RateLimit make_limit(double packets_per_s, double bytes_per_s, double burst_s,
                            uint64_t hz) noexcept {
  RateLimit out;
  if (packets_per_s > 0) {
    out.ticks_per_packet =
        std::max<uint64_t>(1, static_cast<uint64_t>(double(hz) / packets_per_s + 0.999));
  }
  if (bytes_per_s > 0) {
    out.ticks_per_byte_q16 =
        std::max<uint64_t>(1, static_cast<uint64_t>(65536 * double(hz) / bytes_per_s + 0.999));
  }
  out.burst_ticks = static_cast<uint64_t>(burst_s * double(hz));
  return out;
}

}  // namespace sluice::fabric
