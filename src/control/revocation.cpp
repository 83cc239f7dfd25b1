#include "control/revocation.h"

#include <algorithm>

#include "base/log.h"

namespace sluice::control {
namespace {

constexpr uint64_t kProofMs = 1000;

}  // namespace

Revocations::Revocations(const Clock& clock, fabric::Qsbr& qsbr, TrustTable& trust,
                         SessionTable& sessions, Channel& channel, Store& store,
                         fabric::Arena& arena, fabric::PortStatusReader ports)
    : clock_(clock),
      qsbr_(qsbr),
      trust_(trust),
      sessions_(sessions),
      channel_(channel),
      store_(store),
      arena_(arena),
      ports_(std::move(ports)) {}

void Revocations::revoke(AgentEntry& agent, const std::string& reason, Done done) {
  Job job{.id = next_id_++,
          .agent = agent.index,
          .started = clock_.ticks(),
          .token = 0,
          .answer = {},
          .done = std::move(done)};
  const uint64_t at_ms = clock_.unix_ms();
  if (!agent.revoked) {
    trust_.mark_revoked(agent, reason, at_ms);
  }
  job.answer.store_us = clock_.us_from_ticks(clock_.ticks() - job.started);
  // Unpublished together with the cut, so that one grace period also covers the wiping of keys.
  sessions_.retire_agent(agent.index);
  job.token = qsbr_.start();
  job.answer.did = crypto::to_did(agent.identity);
  job.answer.name = agent.name;
  // Noted now: a reload may close the edges before the cut is proven.
  for (const EdgeEntry& e : trust_.edges_of(agent.index)) job.peers.push_back(e.to);
  const uint64_t id = job.id;
  jobs_.push_back(std::move(job));
  store_.revoke({{agent.identity, agent.revoked_reason, agent.revoked_ms}},
                [this, id](Result<WriteTimes> result) {
                  const auto it = std::find_if(jobs_.begin(), jobs_.end(),
                                               [&](const Job& j) { return j.id == id; });
                  if (it == jobs_.end()) return;
                  it->stored = true;
                  it->answer.durable_us = clock_.us_from_ticks(clock_.ticks() - it->started);
                  if (result) {
                    it->answer.sync_us = double(result->sync_us);
                  } else {
                    it->answer.state = CutState::kNotDurable;
                    it->answer.problem = result.error().message;
                  }
                });
}

void Revocations::on_cut(Job& job) {
  job.cut = true;
  job.answer.cut_us = clock_.us_from_ticks(clock_.ticks() - job.started);
  double worst = 0;
  for (const auto& p : ports_()) worst = std::max(worst, p.worst_drain_us);
  job.answer.drained_us = job.answer.cut_us + worst;
}

void Revocations::wipe_and_notify(Job& job) {
  sessions_.poll();  // what was retired before the token is reclaimed, its keys wiped
  job.wiped = true;
  job.answer.wipe_us = clock_.us_from_ticks(clock_.ticks() - job.started);
  const AgentEntry& agent = trust_.agent(job.agent);
  job.answer.edges_closed = static_cast<unsigned>(job.peers.size() * 2);
  trust_.close_edges(agent);
  for (const uint32_t peer : job.peers) {
    if (sessions_.has_session(peer)) ++job.answer.peers_notified;
    channel_.notify_revoked(peer, agent);
    channel_.sync_edges(peer);
  }
}

void Revocations::answer(Job& job) {
  job.answered = true;
  for (unsigned w = 0; w < arena_.sizes().workers; ++w) {
    job.answer.forwarded += arena_.counters(w).forwarded.get();
  }
  job.answer.ack_us = clock_.us_from_ticks(clock_.ticks() - job.started);
  const Done done = std::move(job.done);
  done(job.answer);
}

bool Revocations::poll() {
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    Job& job = *it;
    const bool late = clock_.ticks() - job.started > clock_.ticks_from_ms(kProofMs);
    if (!job.cut && qsbr_.passed(job.token)) on_cut(job);
    if (job.cut && !job.wiped) wipe_and_notify(job);
    if (!job.answered && !job.cut && late) {
      // The job goes on: keys are wiped and peers told as soon as the worker moves.
      job.answer.state = CutState::kNotProven;
      job.answer.problem = "a worker did not reach a quiescent point within 1 s";
      spdlog::error("revocation of {}: cut, not proven: {}", job.answer.name, job.answer.problem);
      answer(job);
    }
    if (!job.answered && job.wiped && job.stored) answer(job);
    it = job.answered && job.wiped && job.stored ? jobs_.erase(it) : std::next(it);
  }
  return !jobs_.empty();
}

}  // namespace sluice::control
