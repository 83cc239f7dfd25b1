#include "control/revocation.h"

#include <algorithm>
#include <set>

#include "base/log.h"

namespace sluice::control {
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

void Revocations::revoke(Cut cut, Done done) {
  Job job{.id = next_id_++,
          .what = std::move(cut),
          .started = clock_.ticks(),
          .token = 0,
          .answer = {},
          .done = std::move(done)};
  const Cut& what = job.what;
  const uint64_t at_ms = clock_.unix_ms();
  // Step 1, and nothing else before it is done for all.
  for (const uint32_t agent : what.agents) {
    if (!trust_.agent(agent).revoked) trust_.mark_revoked(trust_.agent(agent), what.reason, at_ms);
  }
  for (const PairCut& p : what.pairs) trust_.end_agreement(p.pair);
  job.answer.store_us = clock_.us_from_ticks(clock_.ticks() - job.started);
  // Unpublished together with the cut, so that one grace period also covers the wiping of keys; but
  // for the few that are told of it over these very sessions.
  for (const uint32_t agent : what.agents) {
    channel_.silence(agent);
    if (takes_leave(agent)) {
      job.farewells.push_back(agent);
    } else {
      sessions_.retire_agent(agent);
    }
  }
  job.token = qsbr_.start();
  job.answer.agents = static_cast<unsigned>(what.agents.size());
  job.answer.pairs = static_cast<unsigned>(what.pairs.size());
  if (what.agents.size() == 1) {
    job.answer.did = crypto::to_did(trust_.agent(what.agents[0]).identity);
    job.answer.name = trust_.agent(what.agents[0]).name;
  }
  Changes changes{.actor = what.actor, .at_ms = at_ms, .list = {}};
  for (const uint32_t agent : what.agents) {
    const AgentEntry& entry = trust_.agent(agent);
    changes.list.push_back(RevocationRow{entry.identity, entry.revoked_reason, entry.revoked_ms});
    // Noted now: a reload may close the edges before the cut is proven.
    auto& peers = job.peers.emplace_back();
    for (const EdgeEntry& e : trust_.edges_of(agent)) peers.push_back(e.to);
    // Its agreements end with it, open or not.
    for (const PairKey& pair : trust_.agreements_of(agent)) {
      changes.list.push_back(
          PairEnd{trust_.agreement(pair)->request, at_ms, "an agent was revoked", true, {}, {}});
    }
  }
  for (const PairCut& p : what.pairs) {
    changes.list.push_back(PairEnd{p.request, p.at_ms, what.reason, true, p.statement, p.revoke});
  }
  const uint64_t id = job.id;
  jobs_.push_back(std::move(job));
  store_.apply(std::move(changes), [this, id](Result<WriteTimes> result) {
    const auto it =
        std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& j) { return j.id == id; });
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

bool Revocations::takes_leave(uint32_t agent) {
  // A confirmed one: on another nothing is sent.
  if (arena_.agents()[agent].session.load(std::memory_order_relaxed) == fabric::kNone) return false;
  const uint64_t now = clock_.ticks();
  notices_ = std::min(kNoticesAtOnce, notices_ + double(now - notices_at_) * kNoticesPerSecond /
                                                     double(clock_.hz()));
  notices_at_ = now;
  if (notices_ < 1) return false;
  notices_ -= 1;
  return true;
}

// After the cut and its proof: told, sent, over.
void Revocations::end_sessions(Job& job) {
  if (!job.bidden) {
    for (const uint32_t agent : job.farewells) {
      job.answer.notified += channel_.bid_farewell(trust_.agent(agent)) ? 1 : 0;
    }
    job.bidden = true;
  } else {
    for (const uint32_t agent : job.farewells) sessions_.retire_agent(agent);
    job.farewells.clear();
  }
  job.token = qsbr_.start();
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
  std::set<uint32_t> changed;
  for (size_t i = 0; i < job.what.agents.size(); ++i) {
    const AgentEntry& agent = trust_.agent(job.what.agents[i]);
    job.answer.edges_closed += static_cast<unsigned>(job.peers[i].size() * 2);
    trust_.close_edges(agent);
    for (const uint32_t peer : job.peers[i]) {
      if (trust_.agent(peer).revoked) continue;
      if (sessions_.has_session(peer)) ++job.answer.peers_notified;
      channel_.notify_revoked(peer, agent);
      changed.insert(peer);
    }
  }
  for (const PairCut& p : job.what.pairs) {
    job.answer.edges_closed += 2;
    for (const uint32_t agent : {p.pair.first, p.pair.second}) {
      if (sessions_.has_session(agent)) ++job.answer.peers_notified;
      channel_.tell(agent, p.revoke);
      changed.insert(agent);
    }
  }
  for (const uint32_t agent : changed) channel_.sync_edges(agent);
}

void Revocations::answer(Job& job) {
  job.answered = true;
  for (unsigned w = 0; w < arena_.sizes().workers; ++w) {
    job.answer.forwarded += arena_.counters(w).forwarded.get();
  }
  job.answer.ack_us = clock_.us_from_ticks(clock_.ticks() - job.started);
  ++totals_.answers[static_cast<size_t>(job.answer.state)];
  if (job.cut) {
    totals_.last_cut_us = job.answer.cut_us;
    totals_.longest_cut_us = std::max(totals_.longest_cut_us, job.answer.cut_us);
  }
  if (heard_) heard_(job.what, job.answer);
  const Done done = std::move(job.done);
  done(job.answer);
}

bool Revocations::poll() {
  for (auto it = jobs_.begin(); it != jobs_.end();) {
    Job& job = *it;
    const bool late = clock_.ticks() - job.started > clock_.ticks_from_ms(fabric::kProofMs);
    if (!job.wiped && qsbr_.passed(job.token)) {
      if (!job.cut) on_cut(job);
      if (job.farewells.empty()) {
        wipe_and_notify(job);
      } else {
        end_sessions(job);
      }
    }
    if (!job.answered && !job.wiped && late) {
      // The job goes on: keys are wiped and peers told as soon as the worker moves.
      job.answer.state = CutState::kNotProven;
      job.answer.problem = job.cut ? "a worker did not let go of the keys within 1 s"
                                   : "a worker did not reach a quiescent point within 1 s";
      spdlog::error("revocation of {}: cut, not proven: {}", job.answer.name, job.answer.problem);
      answer(job);
    }
    if (!job.answered && job.wiped && job.stored) answer(job);
    it = job.answered && job.wiped && job.stored ? jobs_.erase(it) : std::next(it);
  }
  return !jobs_.empty();
}

}  // namespace sluice::control
