// Revocation in the order of docs/architecture.md: cut by one atomic store; committed with a sync;
// meanwhile every worker passes a quiescent point; keys wiped, peers notified; then the answer,
// which is a proof. Jobs are states, nothing here waits. Control thread.
#pragma once

#include <functional>
#include <list>
#include <optional>
#include <string>

#include "control/channel.h"
#include "control/session_table.h"
#include "control/store.h"
#include "control/trust_table.h"
#include "fabric/port_status.h"
#include "fabric/rcu.h"

namespace sluice::control {

enum class CutState : uint8_t { kCut, kNotDurable, kNotProven };

// A pair to be cut, on the word of one of its agents or of the operator.
struct PairCut {
  PairKey pair;
  uint64_t at_ms = 0;  // the pair's floor from now on
  Digest request{};    // of the agreement
  Digest statement{};  // of the TrustRevoke
  Buffer revoke;       // Signed TrustRevoke
};

// What is cut at once: one grace period, one transaction.
struct Cut {
  std::vector<uint32_t> agents;
  std::vector<PairCut> pairs;
  std::string reason;
  std::string actor;  // for the change feed
};

inline Cut cut_of(const AgentEntry& agent, std::string reason, std::string actor = "relay") {
  return {{agent.index}, {}, std::move(reason), std::move(actor)};
}

struct RevocationAnswer {
  std::string did;  // of the agent, where it is one
  std::string name;
  unsigned agents = 0;
  unsigned pairs = 0;
  CutState state = CutState::kCut;
  double store_us = 0;     // step 1: the atomic store of the agent's state
  double cut_us = 0;       // until every worker had passed a quiescent point
  double drained_us = 0;   // worst case: a full TX ring at link speed, from the cut on
  double sync_us = 0;      // the store's commit with its sync, alone
  double durable_us = 0;   // from the start until that commit was known
  double wipe_us = 0;      // until the keys were wiped
  double ack_us = 0;       // until this answer
  uint64_t forwarded = 0;  // packets that all workers had forwarded since the start, at the answer
  unsigned edges_closed = 0;
  unsigned peers_notified = 0;
  unsigned notified = 0;  // revoked agents that were told
  std::string problem;    // why not durable or not proven
};

class Revocations {
 public:
  // Revoked agents that are told of it themselves: all of a crowd would be another grace period.
  static constexpr double kNoticesPerSecond = 16;
  static constexpr double kNoticesAtOnce = 16;

  using Done = std::function<void(RevocationAnswer)>;

  Revocations(const Clock& clock, fabric::Qsbr& qsbr, TrustTable& trust, SessionTable& sessions,
              Channel& channel, Store& store, fabric::Arena& arena, fabric::PortStatusReader ports);

  void revoke(Cut cut, Done done);
  // Hears of every answer before who asked does.
  void on_answer(std::function<void(const Cut&, const RevocationAnswer&)> heard) {
    heard_ = std::move(heard);
  }

  // Answers since the start, by state, and how long the last cut and the longest took.
  struct Totals {
    uint64_t answers[3] = {};
    double last_cut_us = 0;
    double longest_cut_us = 0;
  };
  const Totals& totals() const { return totals_; }

  // Advances what is under way. True while anything is: the caller then polls without pause.
  bool poll();

 private:
  std::function<void(const Cut&, const RevocationAnswer&)> heard_;
  struct Job {
    uint64_t id;
    Cut what;
    uint64_t started;
    uint64_t token;
    bool cut = false;
    // Agents that are still to be told. Their sessions end only then: two more grace periods, one
    // in which the workers send that, one for the keys.
    std::vector<uint32_t> farewells;
    bool bidden = false;
    bool wiped = false;
    bool stored = false;
    bool answered = false;
    // Of each agent that is cut.
    std::vector<std::vector<uint32_t>> peers;
    RevocationAnswer answer;
    Done done;
  };
  void on_cut(Job& job);
  bool takes_leave(uint32_t agent);
  void end_sessions(Job& job);
  void wipe_and_notify(Job& job);
  void answer(Job& job);

  const Clock& clock_;
  fabric::Qsbr& qsbr_;
  TrustTable& trust_;
  SessionTable& sessions_;
  Channel& channel_;
  Store& store_;
  fabric::Arena& arena_;
  fabric::PortStatusReader ports_;
  Totals totals_;
  std::list<Job> jobs_;
  uint64_t next_id_ = 1;
  double notices_ = kNoticesAtOnce;  // to revoked agents: what is left now
  uint64_t notices_at_ = 0;          // ticks
};

}  // namespace sluice::control
