#include "dataplane/calls.h"

#include "dataplane/call_steps.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {
namespace {

using fabric::CallRecord;
using fabric::CallState;
using fabric::kNone;

// Records: a saturated worker opens three or four calls a round, and has to find as many that are
// over.
constexpr unsigned kSweptAtOnce = 8;
constexpr unsigned kPagesAtOnce = 8;  // looked at for that
// Once the caller has closed it, however much the callee goes on.
constexpr uint64_t kLingerMs = 10'000;
// How much longer than its envelope a call may wait for an approval: control says when it is over.
constexpr int64_t kParkedGraceMs = 10'000;

enum class End : uint8_t { kClosed = 0, kIdle = 1, kEdge = 2 };

audit::Record closed_record(const Context& c, const CallRecord& r, uint64_t caller,
                            End why) noexcept {
  const wire::Envelope& e = r.envelope;
  const uint64_t ms = c.clock.hz() / 1000;
  audit::CallClosed out;
  out.source = static_cast<uint16_t>(c.worker);
  out.time_ms = static_cast<uint64_t>(unix_ms_of(c));
  out.caller = caller;
  out.callee = e.audience;
  out.why = static_cast<uint8_t>(why);
  out.trace = take<16>(e.trace);
  out.counter = e.counter;
  out.duration_ms = (c.now - r.opened) / ms;
  out.packets = r.packets.get();
  out.bytes = r.bytes.get();
  out.packets_back = r.packets_back.get();
  out.bytes_back = r.bytes_back.get();
  out.answered = r.accepted.load(std::memory_order_relaxed);
  out.status = r.status;
  const uint32_t back = r.closed_back.load(std::memory_order_relaxed);
  out.status_back = static_cast<uint16_t>(back == 0 ? 0 : back - 1);
  return audit::record_of(out);
}

bool edge_stands(const Context& c, uint32_t agent, const CallRecord& r) noexcept {
  const fabric::Edge& edge = c.tables.edges[wire::label_slot(r.label)];
  return edge.gate.load(std::memory_order_acquire) ==
         fabric::edge_gate(fabric::EdgeState::kOpen, wire::label_generation(r.label), agent);
}

bool is_over(const Context& c, uint32_t agent, const CallRecord& r, End& why) noexcept {
  if (r.closed != 0 && r.closed_back.load(std::memory_order_acquire) != 0) {
    why = End::kClosed;
    return true;
  }
  if (!edge_stands(c, agent, r)) {
    why = End::kEdge;
    return true;
  }
  if (r.closed != 0 && c.now - r.last >= c.clock.ticks_from_ms(kLingerMs)) {
    why = End::kClosed;
    return true;
  }
  const uint64_t last = std::max(r.last, r.last_back.load(std::memory_order_relaxed));
  why = End::kIdle;
  return c.now > last && c.now - last >= c.clock.ticks_from_ms(c.options.calls.idle_ms);
}

// Of a call that its callee refused, or that a half-open circuit waits for.
void judge_answer(Context& c, CallRecord& r) noexcept {
  const uint32_t accepted = r.accepted.load(std::memory_order_relaxed);
  if (accepted > 1) judge_outcome(c, r, CallOutcome::kFailed);
  if (accepted == 1 && r.probe != 0) judge_outcome(c, r, CallOutcome::kGood);
}

CallOutcome outcome_of(const CallRecord& r, End why) noexcept {
  if (why == End::kEdge) return CallOutcome::kNone;
  const bool good = r.accepted.load(std::memory_order_relaxed) == 1 &&
                    r.closed_back.load(std::memory_order_relaxed) <= 1;
  return good ? CallOutcome::kGood : CallOutcome::kFailed;
}

// Of a parked call: its edge has gone, or control has not said anything in time.
bool is_forgotten(const Context& c, uint32_t agent, const CallRecord& r, End& why) noexcept {
  why = edge_stands(c, agent, r) ? End::kIdle : End::kEdge;
  return why == End::kEdge ||
         unix_ms_of(c) >= static_cast<int64_t>(r.envelope.expires_ms) + kParkedGraceMs;
}

// After that an agent's envelopes have all expired: its page holds nothing that is needed.
uint64_t page_rest_ms(const Context& c) noexcept {
  const fabric::CallOptions& o = c.options.calls;
  return o.longest_life_ms + 3 * static_cast<uint64_t>(o.skew_ms) + 10'000;
}

void sweep_record(Context& c, uint32_t agent, CallRecord& r) noexcept {
  switch (static_cast<CallState>(r.state.load(std::memory_order_relaxed))) {
    case CallState::kFree:
      return;
    case CallState::kEnded:
      if (c.qsbr.passed(r.token)) {
        r.state.store(uint32_t(CallState::kFree), std::memory_order_release);
      }
      return;
    case CallState::kOpen:
      judge_answer(c, r);
      break;
    case CallState::kParked:
      break;
  }
  End why{};
  const bool parked = r.state.load(std::memory_order_relaxed) == uint32_t(CallState::kParked);
  if (!(parked ? is_forgotten(c, agent, r, why) : is_over(c, agent, r, why))) return;
  fabric::Agent& caller = c.tables.agents[agent];
  (void)c.mailboxes.of(c.worker).audit->put(closed_record(c, r, caller.address, why));
  end_call(c, caller, r, parked ? CallOutcome::kNone : outcome_of(r, why));
  c.counters.calls_closed.add(1);
}

void give_page_back(Context& c, uint32_t page, fabric::Agent& agent) noexcept {
  agent.call_page.store(kNone, std::memory_order_release);
  c.arena.page_agent(page).store(kNone, std::memory_order_release);
}

// One step: a page that came home, or some records of one that an agent of this worker's has. True
// if there was something to do.
bool sweep_page(Context& c, uint32_t page) noexcept {
  CallDesk& desk = *c.calls;
  const uint32_t index = c.arena.page_agent(page).load(std::memory_order_acquire);
  if (index == kNone) {
    if (!desk.is_home(page) || desk.listed[page] != 0) return false;
    desk.listed[page] = 1;
    desk.free_pages.push_back(page);
    return true;
  }
  fabric::Agent& agent = c.tables.agents[index];
  if (agent.owner.load(std::memory_order_acquire) != c.worker ||
      agent.call_page.load(std::memory_order_relaxed) != page) {
    return false;
  }
  const fabric::CallTable table = c.arena.calls(page);
  const uint32_t until = std::min(desk.swept_slot + kSweptAtOnce, table.slots());
  for (; desk.swept_slot < until; ++desk.swept_slot) {
    sweep_record(c, index, table.at(desk.swept_slot));
  }
  if (until != table.slots()) return true;
  desk.swept_slot = 0;
  bool free =
      agent.open_calls == 0 && c.now - agent.last_call >= c.clock.ticks_from_ms(page_rest_ms(c));
  for (uint32_t i = 0; free && i < table.slots(); ++i) {
    free = table.at(i).state.load(std::memory_order_relaxed) == uint32_t(CallState::kFree);
  }
  if (free) give_page_back(c, page, agent);
  return true;
}

}  // namespace

WaitingFrames::Found WaitingFrames::look_for(uint32_t agent,
                                             const wire::FrameHeader& frame) const noexcept {
  Found out;
  for (unsigned i = 0; i < count_; ++i) {
    const WaitingFrame& f = frames_[(first_ + i) % fabric::kWaitingCalls];
    if (!f.is_of(agent, frame)) continue;
    if (f.signed_frame) {
      out.signed_frame = &f.slot;
    } else {
      ++out.data;
    }
  }
  return out;
}

CallDesk::CallDesk(unsigned own, unsigned all, const fabric::Arena& arena)
    : worker(own), workers(all), listed(arena.sizes().call_pages) {
  const uint32_t pages = arena.sizes().call_pages;
  free_pages.reserve(pages / all + 1);
  for (uint32_t p = worker; p < pages; p += workers) {
    free_pages.push_back(p);
    listed[p] = 1;
  }
}

int64_t unix_ms_of(const Context& c) noexcept {
  return c.arena.relay().unix_at_tick0_ms.load(std::memory_order_relaxed) +
         static_cast<int64_t>(c.now / (c.clock.hz() / 1000));
}

void sweep_calls(Context& c) noexcept {
  CallDesk& desk = *c.calls;
  const uint32_t pages = c.arena.sizes().call_pages;
  for (unsigned i = 0; i < kPagesAtOnce && i < pages; ++i) {
    const uint32_t page = desk.swept_page;
    const bool done = sweep_page(c, page);
    if (done && desk.swept_slot != 0) return;
    desk.swept_slot = 0;
    desk.swept_page = page + 1 == pages ? 0 : page + 1;
    if (done) return;
  }
}

}  // namespace sluice::dataplane
