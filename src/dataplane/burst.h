// A burst in flight through the stages, on the worker's own memory, reused every round.
#pragma once

#include "dataplane/seal_work.h"
#include "dataplane/slot.h"

namespace sluice::dataplane {

struct Burst {
  Slot slots[fabric::kMaxBurst];
  unsigned count = 0;
  uint64_t received = 0;  // ticks: when it left the NIC; 0: each packet has its own (latency.h)
  SealWork work;          // filled by `lookup` for `open`, and by `seal`

  Slot* begin() noexcept { return slots; }
  Slot* end() noexcept { return slots + count; }
  Slot& add(rte_mbuf* m) noexcept {
    static_assert(std::is_trivially_copyable_v<Slot>);
    Slot& s = slots[count++];
    // All fields begin as zero; one by one, bit fields would be read to be written.
    std::memset(static_cast<void*>(&s), 0, sizeof s);
    s.mbuf = m;
    return s;
  }
};

}  // namespace sluice::dataplane
