// How long forwarded packets were in the relay (fabric/latency.h): one stamp for a burst when it
// was taken out of the NIC, one when its packets were given to a NIC. What waits in a worker on its
// way, in a handover ring, for a signature or a turn, keeps the stamp of the burst that it came in;
// what control or a worker made itself has none and is not counted. A stage's part; the worker's
// thread.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/context.h"
#include "fabric/buffer.h"

namespace sluice::dataplane {

// Before the packet waits.
inline void keep_stamp(const Burst& b, const Slot& s) noexcept {
  if (b.received != 0) fabric::meta_of(s.mbuf).received = b.received;
}

// Those of `sent` that went over an edge, `forwarded` of them, to the worker's own histogram and to
// their senders' tenants'. `received` has the stamps of packets that waited, place for place with
// `sent`; it is read if the burst has none of its own.
void count_latency(const Context& c, const Burst& b, std::span<Slot* const> sent,
                   const uint64_t* received, uint64_t forwarded) noexcept;

}  // namespace sluice::dataplane
