// What calls over an edge are held to (docs/protocol.md §7): rates of calls, calls at once, quotas,
// approvals, and the circuit that opens when too many of them fail. The worker that owns the
// edge's source.
#pragma once

#include "dataplane/context.h"
#include "dataplane/slot.h"
#include "wire/call.h"

namespace sluice::dataplane {

// Null: the edge has no such limits.
inline fabric::EdgeCalls* limits_of(const Context& c, const fabric::Edge& edge) noexcept {
  return edge.calls < c.arena.sizes().edge_calls ? &c.arena.edge_calls()[edge.calls] : nullptr;
}

// What stands in the way of one more call, and in how many milliseconds it may not any more (0: not
// known). They only read.
bool circuit_closed(const Context& c, const fabric::Edge& edge, uint32_t& retry_ms) noexcept;
bool within_quota(const Context& c, const fabric::Edge& edge, uint32_t& retry_ms) noexcept;
// As many calls of `label` are open as may be at once, among those of the page.
bool crowded(const Context& c, const fabric::Edge& edge, const fabric::Agent& caller,
             uint32_t label) noexcept;
uint32_t opens_in_ms(const Context& c, const fabric::Edge& edge) noexcept;
// Of an instant in ticks; 0: it has passed.
uint32_t ms_until(const Context& c, uint64_t at) noexcept;

// Spends a call of edge, agent and tenant, and the packet of the frame with `before_it` bytes that
// go before it; all of them or none.
bool charge_open(Context& c, Slot& s, uint32_t before_it, uint32_t& retry_ms) noexcept;

// Somebody has to approve it first.
bool needs_approval(const Context& c, const fabric::Edge& edge, const wire::Envelope& e) noexcept;

// A call is opened, or parked: counts it. Writes `r.probe`.
void count_open(Context& c, fabric::Edge& edge, fabric::CallRecord& r) noexcept;
// How a call went, once for each; what has no outcome (it was denied while parked) frees the probe.
enum class CallOutcome : uint8_t { kGood, kFailed, kNone };
void judge_outcome(Context& c, fabric::CallRecord& r, CallOutcome outcome) noexcept;

}  // namespace sluice::dataplane
