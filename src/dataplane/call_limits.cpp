#include "dataplane/call_limits.h"

#include "dataplane/calls.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::CallRecord;
using fabric::Circuit;
using fabric::CircuitState;

uint32_t circuit_time(const Context& c) noexcept {
  return static_cast<uint32_t>(c.now >> fabric::kCircuitShift);
}

uint64_t ticks_since(const Context& c, const Circuit& circuit) noexcept {
  return uint64_t{circuit_time(c) - circuit.at} << fabric::kCircuitShift;
}

CircuitState state_of(const Circuit& circuit) noexcept {
  return static_cast<CircuitState>(circuit.state.load(std::memory_order_relaxed));
}

void set_state(Context& c, fabric::Edge& edge, uint32_t slot, CircuitState state) noexcept {
  edge.circuit.state.store(static_cast<uint8_t>(state), std::memory_order_relaxed);
  edge.circuit.at = circuit_time(c);
  edge.circuit.outcomes = edge.circuit.failed = 0;
  // Control reads the state itself if the ring is full.
  (void)tell(c, fabric::Event::Kind::kCircuit, slot, static_cast<uint32_t>(state));
  if (state == CircuitState::kOpen) c.counters.circuits_opened.add(1);
}

uint32_t ms_of(const Context& c, uint64_t ticks) noexcept {
  const uint64_t ms = ticks / (c.clock.hz() / 1000) + 1;
  return static_cast<uint32_t>(std::min<uint64_t>(ms, 0xffffffff));
}

}  // namespace

bool circuit_closed(const Context& c, const fabric::Edge& edge, uint32_t& retry_ms) noexcept {
  switch (state_of(edge.circuit)) {
    case CircuitState::kClosed:
      return true;
    case CircuitState::kOpen: {
      const uint64_t open = c.clock.ticks_from_ms(c.options.calls.circuit_open_ms);
      const uint64_t since = ticks_since(c, edge.circuit);
      if (since >= open) return true;
      retry_ms = ms_of(c, open - since);
      return false;
    }
    case CircuitState::kHalfOpen:
      return edge.circuit.trying == 0;
  }
  return true;
}

bool within_quota(const Context& c, const fabric::Edge& edge, uint32_t& retry_ms) noexcept {
  const fabric::EdgeCalls* limits = limits_of(c, edge);
  const uint64_t wait = limits == nullptr ? 0 : limits->exhausted_for(c.now);
  if (wait != 0) retry_ms = ms_of(c, wait);
  return wait == 0;
}

bool crowded(const Context& c, const fabric::Edge& edge, const fabric::Agent& caller,
             uint32_t label) noexcept {
  const fabric::EdgeCalls* limits = limits_of(c, edge);
  if (limits == nullptr || limits->at_once == 0 || caller.open_calls < limits->at_once) {
    return false;
  }
  const fabric::CallTable table = c.arena.calls(caller.call_page.load(std::memory_order_relaxed));
  unsigned open = 0;
  for (uint32_t i = 0; i < table.slots(); ++i) {
    const CallRecord& r = table.at(i);
    const auto state = static_cast<fabric::CallState>(r.state.load(std::memory_order_relaxed));
    const bool stands = state == fabric::CallState::kOpen || state == fabric::CallState::kParked;
    open += stands && r.label == label ? 1 : 0;
  }
  return open >= limits->at_once;
}

uint32_t opens_in_ms(const Context& c, const fabric::Edge& edge) noexcept {
  const fabric::EdgeCalls* limits = limits_of(c, edge);
  if (limits == nullptr) return 0;
  return ms_until(c, limits->opens_at.load(std::memory_order_relaxed));
}

uint32_t ms_until(const Context& c, uint64_t at) noexcept {
  return at > c.now ? ms_of(c, at - c.now) : 0;
}

bool charge_open(Context& c, Slot& s, uint32_t before_it, uint32_t& retry_ms) noexcept {
  const Tables& t = c.tables;
  fabric::Edge& edge = t.edges[s.edge];
  fabric::Agent& agent = t.agents[s.session->agent];
  fabric::CallBucket* buckets[3] = {};
  unsigned count = 0;
  if (fabric::EdgeCalls* limits = limits_of(c, edge)) buckets[count++] = &limits->bucket;
  buckets[count++] = &agent.call_bucket;
  const uint32_t share = agent.tenant_slot.load(std::memory_order_acquire);
  if (share != fabric::kNone) {
    t.shares[share].offered_calls.add(1);
    buckets[count++] = &t.shares[share].calls;
  }
  uint64_t before[3] = {};
  uint64_t wait = 0;
  unsigned taken = 0;
  while (taken < count && buckets[taken]->take(c.now, c.clock.hz(), before[taken], wait)) ++taken;
  if (taken == count && charge_call(c, s, before_it) == fabric::DropReason::kNone) return true;
  retry_ms = wait == 0 ? 0 : ms_of(c, wait);
  while (taken != 0) {
    --taken;
    buckets[taken]->put_back(before[taken]);
  }
  return false;
}

bool needs_approval(const Context& c, const fabric::Edge& edge, const wire::Envelope& e) noexcept {
  const fabric::EdgeCalls* limits = limits_of(c, edge);
  if (limits == nullptr) return false;
  if ((limits->approve_capabilities >> e.capability & 1) != 0) return true;
  for (unsigned i = 0; i < e.scope_count; ++i) {
    const uint64_t scope = e.scopes[i];
    for (const uint64_t marked : limits->approve_scopes) {
      if (marked != 0 && marked == scope) return true;
    }
  }
  return false;
}

void count_open(Context& c, fabric::Edge& edge, CallRecord& r) noexcept {
  r.judged = r.probe = 0;
  if (fabric::EdgeCalls* limits = limits_of(c, edge)) limits->use(c.now, c.clock.hz());
  if (state_of(edge.circuit) == CircuitState::kClosed) return;
  if (state_of(edge.circuit) == CircuitState::kOpen) {
    set_state(c, edge, wire::label_slot(r.label), CircuitState::kHalfOpen);
  }
  edge.circuit.trying = r.probe = 1;
}

void judge_outcome(Context& c, CallRecord& r, CallOutcome outcome) noexcept {
  if (r.judged != 0) return;
  r.judged = 1;
  const uint32_t slot = wire::label_slot(r.label);
  fabric::Edge& edge = c.tables.edges[slot];
  // Its slot may be another edge's by now, which begins with a closed circuit.
  if (edge.generation() != wire::label_generation(r.label)) return;
  Circuit& circuit = edge.circuit;
  if (r.probe != 0) {
    circuit.trying = 0;
    if (outcome != CallOutcome::kNone && state_of(circuit) == CircuitState::kHalfOpen) {
      set_state(c, edge, slot,
                outcome == CallOutcome::kGood ? CircuitState::kClosed : CircuitState::kOpen);
    }
    return;
  }
  const fabric::CallOptions& options = c.options.calls;
  if (outcome == CallOutcome::kNone || options.circuit_percent == 0 ||
      state_of(circuit) != CircuitState::kClosed) {
    return;
  }
  if (circuit.outcomes == 0 ||
      ticks_since(c, circuit) >= c.clock.ticks_from_ms(options.circuit_within_ms)) {
    circuit.at = circuit_time(c);
    circuit.outcomes = circuit.failed = 0;
  }
  ++circuit.outcomes;
  circuit.failed += outcome == CallOutcome::kFailed ? 1 : 0;
  if (circuit.outcomes < options.circuit_calls) return;
  if (circuit.failed * 100u >= options.circuit_percent * unsigned{circuit.outcomes}) {
    set_state(c, edge, slot, CircuitState::kOpen);
  } else {
    circuit.outcomes = circuit.failed = 0;
  }
}

}  // namespace sluice::dataplane
