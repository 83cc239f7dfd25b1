#include "agent/call_jobs.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/call_failure.h"
#include "agent/request.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using wire::CallReason;

constexpr uint64_t kLookEveryUs = 1'000'000;

json error_json(const CallRow& row, uint32_t retry_after_ms) {
  const CallFailure f = failure_of(row, retry_after_ms);
  return {{"code", info(f.code).name},
          {"reason", f.reason},
          {"message", f.message},
          {"hint", f.hint.empty() ? json(nullptr) : json(f.hint)},
          {"retry_after_ms", f.retry_after_ms == 0 ? json(nullptr) : json(f.retry_after_ms)}};
}

json since(uint64_t from_ms, uint64_t at_ms) {
  return at_ms == 0 ? json(nullptr) : json(at_ms - from_ms);
}

}  // namespace

json call_json(const CallRow& row, const Agent& agent, Now now) {
  const wire::Envelope& e = row.envelope;
  const PeerEdge* edge = agent.edge(row.peer);
  const CallTimes& t = row.times;
  const bool denied = row.end == CallEnd::kDenied;
  return {{"call", fmt::format("{:016x}", uint64_t{e.counter})},
          {"message_id", crypto::to_hex(bytes_of(e.epoch)) + crypto::to_hex(bytes_of(e.counter))},
          {"trace", crypto::to_hex(bytes_of(e.trace))},
          {"idempotency_key", crypto::to_hex(bytes_of(e.idempotency))},
          {"direction", row.is_caller ? "out" : "in"},
          {"peer", crypto::to_did(row.peer)},
          {"name", edge == nullptr ? "" : edge->name},
          {"capability", wire::name_of(wire::kCapabilityNames, e.capability)},
          {"protocol", wire::name_of(wire::kProtocolNames, e.protocol)},
          {"service", unsigned{e.service}},
          {"state", to_string(row.phase)},
          {"outcome", row.end == CallEnd::kNone ? json(nullptr) : json(info(row.end).name)},
          {"decision", denied            ? json(wire::name(row.denied))
                       : t.accepted != 0 ? json(wire::name(CallReason::kAuthorized))
                                         : json(nullptr)},
          {"status", row.end == CallEnd::kNone ? json(nullptr) : json(unsigned{row.status})},
          {"bytes_sent", row.bytes_sent},
          {"bytes_received", row.bytes_received},
          {"issued_ms", uint64_t{e.issued_ms}},
          {"ms",
           {{"accepted", since(t.opened, t.accepted)},
            {"request", since(t.opened, t.sent)},
            {"total", (t.ended == 0 ? now.mono_ms : t.ended) - t.opened}}}};
}

Result<uint64_t> CallJobs::open(const crypto::PublicKey& peer, CallRequest request, Instant at) {
  auto id = agent_.call(peer, std::move(request), at.now);
  if (id) jobs_[*id] = Job{std::nullopt, at.us};
  return id;
}

void CallJobs::wait(uint64_t id, std::string known, uint64_t until_us, pid_t reader,
                    http::Respond respond, Instant at) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) {
    return respond(http::error_response(
        {ErrorCode::kNotFound, fmt::format("there is no call {:016x} to wait for", id)}));
  }
  Job& job = it->second;
  job.seen_us = at.us;
  if (job.wait) {
    job.wait->respond(
        http::error_response({ErrorCode::kConflict, "another waits for that call now"}));
  }
  job.wait = Wait{std::move(known), until_us, reader, std::move(respond)};
  if (advance(id, job, false, at)) jobs_.erase(it);
}

Result<void> CallJobs::cancel(uint64_t id, Instant at) {
  const auto it = jobs_.find(id);
  if (it == jobs_.end()) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no call {:016x} to cancel", id));
  }
  agent_.touch(at.now);
  if (Call* call = agent_.own_call(id)) {
    call->end(CallEnd::kCancelled, uint16_t(CallStatus::kCancelled));
  }
  it->second.seen_us = at.us;
  if (advance(id, it->second, false, at)) jobs_.erase(it);
  return {};
}

json CallJobs::end_of(Call& call, Instant at) const {
  const CallRow row = row_of(call);
  json out = call_json(row, agent_, at.now);
  out["error"] = row.end == CallEnd::kDone ? json(nullptr) : error_json(row, call.retry_after_ms());
  out["data"] = crypto::to_base64(call.take_result());
  return out;
}

// True when its end was told, or there is nobody to tell.
bool CallJobs::advance(uint64_t id, Job& job, bool look, Instant at) {
  Call* call = agent_.own_call(id);
  if (call != nullptr && !call->live() && !job.end) {
    job.end = std::make_shared<const json>(end_of(*call, at));
    job.seen_us = at.us;
  }
  if (call == nullptr && !job.end) {
    if (job.wait) {
      job.wait->respond(http::error_response({ErrorCode::kNotFound, "the call is forgotten"}));
    }
    return true;
  }
  const bool left = look && job.wait && is_gone(job.wait->reader);
  const bool unheeded = !job.wait && at.us >= job.seen_us + kUnheededUs;
  if (left || unheeded) {
    if (!job.end) {
      call->end(CallEnd::kCancelled, uint16_t(CallStatus::kCancelled));
      call->take_result();
    }
    return true;
  }
  if (!job.wait) return false;
  if (!job.end && to_string(call->phase()) == job.wait->known && at.us < job.wait->until_us) {
    return false;
  }
  const json out = job.end ? *job.end : call_json(row_of(*call), agent_, at.now);
  const http::Respond respond = std::move(job.wait->respond);
  job.wait.reset();
  job.seen_us = at.us;
  respond(json_response(out));
  return job.end != nullptr;
}

void CallJobs::pump(Instant at) {
  const bool look = at.us >= looked_us_ + kLookEveryUs;
  if (look) looked_us_ = at.us;
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    it = advance(it->first, it->second, look, at) ? jobs_.erase(it) : std::next(it);
  }
}

uint64_t CallJobs::wake_us() const {
  if (jobs_.empty()) return kNever;
  uint64_t at = looked_us_ + kLookEveryUs;
  for (const auto& [id, job] : jobs_) {
    if (job.wait) at = std::min(at, job.wait->until_us);
  }
  return at;
}

}  // namespace sluice::agent
