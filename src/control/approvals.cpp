#include "control/approvals.h"

#include <algorithm>

#include "base/log.h"
#include "crypto/secret.h"
#include "crypto/text.h"
#include "wire/frame.h"

namespace sluice::control {
namespace {

constexpr uint64_t kTellAgainMs = 100;
constexpr uint64_t kWarnMs = 10'000;
constexpr uint32_t kTenantShare =
    4;  // of what may wait: a quarter for calls to one tenant's agents

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
  // A worker may have ended it meanwhile, and begun another in its place.
  std::atomic_thread_fence(std::memory_order_acquire);
  if (!stands(call) || !trust_.edges().contains(wire::label_slot(call.label))) return;
  call.callee = trust_.edges().at(wire::label_slot(call.label)).to;
  for (const auto* list : {&waiting_, &decided_}) {
    for (const auto& [id, other] : *list) {
      if (other.caller == agent && other.place == place &&
          other.envelope.counter == call.envelope.counter) {
        return;
      }
    }
  }
  call.since_ms = clock_.unix_ms();
  call.until_ms = std::min(uint64_t{call.envelope.expires_ms},
                           call.since_ms + uint64_t{config_.approval_s} * 1000);
  do {
    call.id = static_cast<uint32_t>(crypto::random_u64());
  } while (call.id == 0 || waiting_.contains(call.id) || decided_.contains(call.id));
  const uint16_t tenant = trust_.agent(call.callee).address.tenant;
  const auto of_tenant = std::count_if(waiting_.begin(), waiting_.end(), [&](const auto& w) {
    return trust_.agent(w.second.callee).address.tenant == tenant;
  });
  // So that the callers of one tenant's agents leave room for others.
  const size_t share = std::max<size_t>(1, config_.parked / kTenantShare);
  if (waiting_.size() >= config_.parked || static_cast<size_t>(of_tenant) >= share) {
    if (warned_ == 0 || clock_.ticks() - warned_ >= clock_.ticks_from_ms(kWarnMs)) {
      warned_ = clock_.ticks();
      spdlog::warn("as many calls wait for an approval as may (calls.parked): more are denied");
    }
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
