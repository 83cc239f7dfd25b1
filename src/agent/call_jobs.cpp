#include "agent/call_jobs.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "agent/request.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;
using wire::CallReason;

constexpr uint64_t kLookEveryUs = 1'000'000;

// Which of the exit codes a denial is, and what helps.
struct Advice {
  ErrorCode code;
  const char* hint;
};

Advice advice_for(CallReason reason) {
  switch (reason) {
    case CallReason::kRateLimited:
    case CallReason::kControlStale:
    case CallReason::kCircuitOpen:
    case CallReason::kIdempotencyTableFull:
    case CallReason::kAuditUnavailable:
    case CallReason::kCredentialUnavailable:
      return {ErrorCode::kResource, "try again a little later; nothing was sent to the peer"};
    case CallReason::kQuotaExhausted:
    case CallReason::kOutsideWindow:
      return {ErrorCode::kResource,
              "the trust with the peer has limits; try again when they allow"};
    case CallReason::kDuplicateIdempotencyKey:
      return {ErrorCode::kConflict,
              "a call with that key was made already; give another --idempotency-key for another"};
    case CallReason::kNotYetValid:
    case CallReason::kExpiredMessage:
      return {ErrorCode::kOutdated,
              "the envelope was too old when it could pass: was the peer away? call again"};
    case CallReason::kReplayed:
      return {ErrorCode::kOutdated, "the relay knows that call already; call again"};
    case CallReason::kCapabilityNotAllowed:
    case CallReason::kProtocolNotAllowed:
    case CallReason::kMissingScope:
      return {ErrorCode::kRefused,
              "ask for it: sluice-agent handshake PEER WHY --capabilities … --protocols …"};
    case CallReason::kRevoked:
      return {ErrorCode::kRefused,
              "the trust has ended or is another now; see: sluice-agent peers"};
    case CallReason::kApprovalDenied:
      return {ErrorCode::kRefused, "an operator of the relay decides about such calls"};
    default:
      return {ErrorCode::kRefused, "see docs/drops.md for the relay's decisions"};
  }
}

json error_json(const CallRow& row, uint32_t retry_after_ms) {
  const CallEndInfo& why = info(row.end);
  json out = {{"code", info(why.code).name},
              {"reason", why.name},
              {"message", why.text},
              {"hint", nullptr},
              {"retry_after_ms", nullptr}};
  if (row.end == CallEnd::kDenied) {
    const Advice advice = advice_for(row.denied);
    out["code"] = info(advice.code).name;
    out["reason"] = wire::name(row.denied);
    out["message"] = fmt::format("the relay denied the call: {}",
                                 wire::kCallReasonTable[size_t(row.denied)].text);
    out["hint"] = advice.hint;
    if (retry_after_ms != 0) out["retry_after_ms"] = retry_after_ms;
  } else if (row.end == CallEnd::kFailed || row.end == CallEnd::kPeerClosed) {
    out["reason"] = status_name(row.status);
    out["message"] = status_text(row.status);
  }
  return out;
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

// True when its end was told, or there is nobody to tell.
bool CallJobs::advance(uint64_t id, Job& job, bool look, Instant at) {
  Call* call = agent_.own_call(id);
  if (call == nullptr) {
    if (job.wait) {
      job.wait->respond(http::error_response({ErrorCode::kNotFound, "the call is forgotten"}));
    }
    return true;
  }
  const bool left = look && job.wait && is_gone(job.wait->reader);
  const bool unheeded = !job.wait && at.us >= job.seen_us + kUnheededUs;
  if (left || unheeded) {
    call->end(CallEnd::kCancelled, uint16_t(CallStatus::kCancelled));
    call->take_result();
    return true;
  }
  const std::string state = to_string(call->phase());
  if (!job.wait || (call->live() && state == job.wait->known && at.us < job.wait->until_us)) {
    return false;
  }
  const CallRow row = row_of(*call);
  json out = call_json(row, agent_, at.now);
  if (!call->live()) {
    out["error"] =
        row.end == CallEnd::kDone ? json(nullptr) : error_json(row, call->retry_after_ms());
    out["data"] = crypto::to_base64(call->take_result());
  }
  const http::Respond respond = std::move(job.wait->respond);
  job.wait.reset();
  job.seen_us = at.us;
  respond(json_response(out));
  return !call->live();
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
