#include "control/approvals.h"

#include <algorithm>

#include "base/log.h"
#include "crypto/secret.h"
#include "crypto/text.h"
#include "wire/frame.h"

namespace sluice::control {
namespace {

constexpr uint64_t kTellAgainMs = 100;

const fabric::CallRecord* record_of(const fabric::Arena& arena, uint32_t agent, uint32_t place) {
  const uint32_t page = arena.agents()[agent].call_page.load(std::memory_order_acquire);
  if (page == fabric::kNone || place >= arena.sizes().calls_each) return nullptr;
  const fabric::CallRecord& r = arena.calls(page).at(place);
  const bool parked =
      r.state.load(std::memory_order_acquire) == uint32_t(fabric::CallState::kParked);
  return parked ? &r : nullptr;
}

}  // namespace

void Approvals::parked(uint32_t agent, uint32_t place) {
  const fabric::CallRecord* r = record_of(arena_, agent, place);
  if (r == nullptr) return;  // over already
  ParkedCall call;
  call.caller = agent;
  call.place = place;
  call.label = r->label;
  call.envelope = r->envelope;
  call.callee = arena_.edges()[wire::label_slot(r->label)].target;
  call.since_ms = clock_.unix_ms();
  call.until_ms = std::min<uint64_t>(call.envelope.expires_ms,
                                     call.since_ms + uint64_t{config_.approval_s} * 1000);
  do {
    call.id = static_cast<uint32_t>(crypto::random_u64());
  } while (call.id == 0 || waiting_.contains(call.id) || decided_.contains(call.id));
  if (waiting_.size() >= config_.parked) {
    spdlog::warn("{} calls wait for an approval already (calls.parked): one more is denied",
                 config_.parked);
    call.verdict = CallVerdict::kDenied;
    decided_.emplace(call.id, call);
    return;
  }
  spdlog::info("a call of {} to {} waits for an approval: sluicectl approve {:08x}",
               trust_.agent(agent).name, trust_.agent(call.callee).name, call.id);
  waiting_.emplace(call.id, call);
}

bool Approvals::stands(const ParkedCall& call) const {
  const fabric::CallRecord* r = record_of(arena_, call.caller, call.place);
  return r != nullptr && r->call_id == call.envelope.counter && r->label == call.label;
}

bool Approvals::decide(uint32_t id, CallVerdict verdict) {
  const auto it = waiting_.find(id);
  if (it == waiting_.end()) return false;
  it->second.verdict = verdict;
  decided_.insert(waiting_.extract(it));
  return true;
}

void Approvals::tell(ParkedCall& call) {
  call.told_at = clock_.ticks();
  const fabric::Agent& agent = arena_.agents()[call.caller];
  const uint32_t session = agent.session.load(std::memory_order_acquire);
  if (session == fabric::kNone) return;  // it may come back
  ByteArray<sizeof(wire::FrameHeader) + sizeof(wire::Envelope)> frame;
  wire::write_frame(frame.data(), {.type = uint8_t(wire::FrameType::kCallOpen),
                                   .flags = 0,
                                   .extension_length = sizeof(wire::Envelope),
                                   .label = call.label,
                                   .call_id = call.envelope.counter});
  std::memcpy(frame.data() + sizeof(wire::FrameHeader), &call.envelope, sizeof call.envelope);
  const auto kind = call.verdict == CallVerdict::kApproved ? fabric::ParcelKind::kApproved
                                                           : fabric::ParcelKind::kRefused;
  (void)mailboxes_.send_frame(agent.owner.load(std::memory_order_acquire), session,
                              arena_.sessions()[session].generation, frame, kind);
}

bool Approvals::poll() {
  if (waiting_.empty() && decided_.empty()) return false;
  const uint64_t now_ms = clock_.unix_ms();
  for (auto it = waiting_.begin(); it != waiting_.end();) {
    auto& [id, call] = *it;
    if (!stands(call)) {
      it = waiting_.erase(it);  // its edge or its agent has gone
    } else if (now_ms >= call.until_ms) {
      call.verdict = CallVerdict::kTimedOut;
      const auto over = it++;
      decided_.insert(waiting_.extract(over));
    } else {
      ++it;
    }
  }
  const uint64_t now = clock_.ticks();
  std::erase_if(decided_, [&](const auto& entry) { return !stands(entry.second); });
  for (auto& [id, call] : decided_) {
    if (call.told_at == 0 || now - call.told_at >= clock_.ticks_from_ms(kTellAgainMs)) tell(call);
  }
  return !decided_.empty();
}

}  // namespace sluice::control
