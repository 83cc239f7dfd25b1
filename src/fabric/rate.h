// Token buckets in the form of the generic cell rate algorithm (ITU-T I.371, virtual scheduling):
// the state of a bucket is the tick at which it would be full again. A packet conforms while that
// lies at most `burst_ticks` ahead; the packet that reaches into the burst still passes, whatever
// its size.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "fabric/counters.h"

namespace sluice::fabric {

// Of an unlimited bucket: no tick is so far ahead.
inline constexpr uint64_t kAnyBurst = uint64_t{1} << 62;

// 0: this measure is not limited. Whole ticks a packet: at 10 million packets a second a limit is
// rounded down by at most 0.4 %.
struct RateLimit {
  uint64_t ticks_per_packet = 0;
  uint64_t ticks_per_byte_q16 = 0;  // 2^-16 ticks
  uint64_t burst_ticks = kAnyBurst;
};

// Of a limit of 0 packets or bytes a second there is no limit of that measure.
inline RateLimit make_limit(double packets_per_s, double bytes_per_s, double burst_s,
                            uint64_t hz) noexcept {
  RateLimit out;
  if (packets_per_s <= 0 && bytes_per_s <= 0) return out;  // unlimited
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

// A limit that control may change at any time, and the state that one worker keeps of it. Words of
// two limits may meet in one packet's decision; the next one sees all of the new limit.
class Bucket {
 public:
  void set(const RateLimit& limit) noexcept {
    ticks_per_packet_.store(limit.ticks_per_packet, std::memory_order_relaxed);
    ticks_per_byte_q16_.store(limit.ticks_per_byte_q16, std::memory_order_relaxed);
    burst_ticks_.store(limit.burst_ticks, std::memory_order_relaxed);
  }
  // While no worker has it.
  void reset() noexcept { packets_at_ = bytes_at_ = 0; }
  RateLimit limit() const noexcept {
    return {ticks_per_packet_.load(std::memory_order_relaxed),
            ticks_per_byte_q16_.load(std::memory_order_relaxed),
            burst_ticks_.load(std::memory_order_relaxed)};
  }

  // What a bucket was before a packet took from it; of times that are over only that they are.
  struct Level {
    uint64_t packets_at;
    uint64_t bytes_at;
  };
  // Charges a packet that conforms. `before` is what `put_back` needs if another of its buckets
  // does not have it pass.
  bool take(uint64_t now, uint32_t bytes, Level& before) noexcept {
    before = {std::max(packets_at_, now), std::max(bytes_at_, now)};
    const uint64_t latest = now + burst_ticks_.load(std::memory_order_relaxed);
    if (std::max(before.packets_at, before.bytes_at) > latest) return false;
    packets_at_ = before.packets_at + ticks_per_packet_.load(std::memory_order_relaxed);
    bytes_at_ =
        before.bytes_at + (bytes * ticks_per_byte_q16_.load(std::memory_order_relaxed) >> 16);
    return true;
  }
  void put_back(const Level& before) noexcept {
    packets_at_ = before.packets_at;
    bytes_at_ = before.bytes_at;
  }

 private:
  // Control.
  std::atomic<uint64_t> ticks_per_packet_{0};
  std::atomic<uint64_t> ticks_per_byte_q16_{0};
  std::atomic<uint64_t> burst_ticks_{kAnyBurst};
  // The worker: ticks at which it would be full again, by either measure.
  uint64_t packets_at_ = 0;
  uint64_t bytes_at_ = 0;
};
static_assert(sizeof(Bucket) == 40);

// The same over calls: one second's worth at once. `hz`: of the ticks.
class CallBucket {
 public:
  // 0: not limited.
  void set(double calls_per_s, uint64_t hz) noexcept {
    const double ticks = calls_per_s <= 0 ? 0 : double(hz) / calls_per_s + 0.999;
    ticks_per_call_.store(static_cast<uint64_t>(ticks), std::memory_order_relaxed);
  }
  // While no worker has it.
  void reset() noexcept { at_ = 0; }

  // False: it does not conform, and will in `wait` ticks.
  bool take(uint64_t now, uint64_t hz, uint64_t& before, uint64_t& wait) noexcept {
    const uint64_t each = ticks_per_call_.load(std::memory_order_relaxed);
    before = at_;
    if (each == 0) return true;
    const uint64_t latest = now + (each < hz ? hz - each : 0);
    // Under a lower limit it may have been filled for longer than this one fills it.
    const uint64_t at = std::min(std::max(at_, now), latest + each);
    if (at > latest) {
      wait = at - latest;
      return false;
    }
    at_ = at + each;
    return true;
  }
  void put_back(uint64_t before) noexcept { at_ = before; }

 private:
  std::atomic<uint64_t> ticks_per_call_{0};  // control
  uint64_t at_ = 0;                          // the worker: ticks at which it would be full again
};
static_assert(sizeof(CallBucket) == 16);

// A worker's share of one tenant's limit. Control divides the limit among the workers by what each
// was offered, again and again; all shares together never exceed it.
struct alignas(64) TenantShare {
  Bucket bucket;
  Counter offered_packets;  // the worker
  Counter offered_bytes;
  uint64_t reserved0 = 0;
  CallBucket calls;
  Counter offered_calls;
  uint64_t reserved1[5] = {};
};
static_assert(sizeof(TenantShare) == 128);

}  // namespace sluice::fabric
