#include "agent/jobs.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>

#include <nlohmann/json.hpp>

#include "agent/request.h"
#include "crypto/text.h"

namespace sluice::agent {
namespace {

using nlohmann::json;

// Longer than a handshake takes to give up, so that its own sentence is the answer.
constexpr uint64_t kJobUs = 15'000'000;
constexpr size_t kAnswerBytes = 4u << 20;

uint64_t failures(const Agent& agent, const crypto::PublicKey& peer) {
  const PeerSession* s = agent.session(peer);
  return s == nullptr ? 0 : s->counters().failures;
}

// Why a job that waits for its peer's session should stop waiting.
std::optional<Error> stopped(const Agent& agent, const crypto::PublicKey& peer,
                             uint64_t failures_before, uint64_t until_us, uint64_t now_us) {
  const PeerSession* s = agent.session(peer);
  if (s == nullptr) return Error{ErrorCode::kNotFound, "the edge to the peer has ended"};
  if (s->counters().failures > failures_before) return Error{ErrorCode::kTimeout, s->last_error()};
  if (now_us >= until_us) {
    return Error{ErrorCode::kTimeout, "the messages did not leave within 15 s"};
  }
  return std::nullopt;
}

}  // namespace

bool is_gone(pid_t reader) {
  return reader > 0 && kill(reader, 0) != 0 && errno == ESRCH;
}

// --- Sending ---------------------------------------------------------------------------------

void SendJobs::add(const crypto::PublicKey& peer, std::vector<Buffer> messages,
                   http::Respond respond, Instant at) {
  jobs_.push_back(
      {peer, std::move(messages), 0, failures(agent_, peer), at.us + kJobUs, std::move(respond)});
}

bool SendJobs::advance(Job& job, Instant at) {
  while (job.next < job.messages.size()) {
    if (!room_()) break;
    const auto sent = agent_.send(job.peer, MessageKind::kData, job.messages[job.next], at.now);
    if (!sent) {
      job.respond(http::error_response(sent.error()));
      return true;
    }
    if (*sent == PeerSession::Sent::kFull) break;
    ++job.next;
  }
  const PeerSession* session = agent_.session(job.peer);
  const auto why = stopped(agent_, job.peer, job.failures_before, job.until_us, at.us);
  if (!why && (job.next < job.messages.size() || session->queued() > 0)) return false;
  job.respond(why ? http::error_response(*why) : json_response({{"sent", job.messages.size()}}));
  return true;
}

void SendJobs::pump(Instant at) {
  jobs_.remove_if([&](Job& job) { return advance(job, at); });
}

uint64_t SendJobs::wake_us() const {
  uint64_t at = kNever;
  for (const Job& j : jobs_) at = std::min(at, j.until_us);
  return at;
}

// --- Receiving -------------------------------------------------------------------------------

void ReceiveWaits::add(size_t most, std::optional<crypto::PublicKey> from, uint64_t until_us,
                       pid_t reader, http::Respond respond) {
  waits_.push_back({most, from, until_us, reader, std::move(respond)});
}

void ReceiveWaits::pump(Instant at) {
  waits_.remove_if([&](Wait& w) {
    const bool late = at.us >= w.until_us;
    if (!late && !inbox_.has(w.from)) return false;
    if (is_gone(w.reader)) return true;
    json messages = json::array();
    for (const ReceivedMessage& m : inbox_.take(w.most, kAnswerBytes, w.from)) {
      messages.push_back({{"from", crypto::to_did(m.from)},
                          {"name", m.name},
                          {"data", crypto::to_base64(m.data)}});
    }
    w.respond(
        json_response({{"messages", std::move(messages)}, {"dropped", inbox_.take_dropped()}}));
    return true;
  });
}

uint64_t ReceiveWaits::wake_us() const {
  uint64_t at = kNever;
  for (const Wait& w : waits_) at = std::min(at, w.until_us);
  return at;
}

// --- Pings -----------------------------------------------------------------------------------

PingJobs::PingJobs(Agent& agent, std::function<bool()> room)
    : agent_(agent), room_(std::move(room)), next_id_((crypto::random_u64() >> 1) + 1) {}

void PingJobs::add(const crypto::PublicKey& peer, const PingOptions& options, http::Respond respond,
                   Instant at) {
  // Id 0 only starts the session: round trips are to be those of pings, not of a handshake.
  if (const auto* s = agent_.session(peer); s != nullptr && !s->ready(at.now)) {
    const ByteArray<kPingIdSize> nobody{};
    if (auto sent = agent_.send(peer, MessageKind::kPing, nobody, at.now); !sent) {
      return respond(http::error_response(sent.error()));
    }
  }
  jobs_.push_back(
      {peer, options, failures(agent_, peer), at.us + kJobUs, std::nullopt, std::move(respond)});
}

bool PingJobs::advance(Job& job, Instant at) {
  if (!job.run) {
    const auto why = stopped(agent_, job.peer, job.failures_before, job.until_us, at.us);
    if (why) job.respond(http::error_response(*why));
    if (why) return true;
    if (!agent_.session(job.peer)->ready(at.now)) return false;
    job.run.emplace(job.options, next_id_, at.us);
    next_id_ += job.options.count;
  }
  Buffer body(job.options.size, 0);
  while (room_()) {
    const uint64_t id = job.run->next(at.us);
    if (id == 0) break;
    store_le(body.data(), id);
    if (auto sent = agent_.send(job.peer, MessageKind::kPing, body, at.now); !sent) {
      job.respond(http::error_response(sent.error()));
      return true;
    }
  }
  if (!job.run->done(at.us)) return false;
  const PingSummary s = job.run->summary();
  json rtt = nullptr;
  if (s.received > 0) {
    rtt = {{"min", s.min_us}, {"p50", s.p50_us},    {"p90", s.p90_us},
           {"p99", s.p99_us}, {"p99.9", s.p999_us}, {"max", s.max_us}};
  }
  job.respond(json_response(
      {{"sent", s.sent}, {"received", s.received}, {"lost", s.lost}, {"rtt_us", std::move(rtt)}}));
  return true;
}

void PingJobs::on_pong(const crypto::PublicKey& peer, uint64_t id, uint64_t now_us) {
  for (Job& j : jobs_) {
    if (j.run && j.peer == peer) j.run->on_pong(id, now_us);
  }
}

void PingJobs::pump(Instant at) {
  jobs_.remove_if([&](Job& job) { return advance(job, at); });
}

uint64_t PingJobs::wake_us() const {
  uint64_t at = kNever;
  for (const Job& j : jobs_) at = std::min(at, j.run ? j.run->wake_us() : j.until_us);
  return at;
}

}  // namespace sluice::agent
