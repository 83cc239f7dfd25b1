// Brings every agent's session up and keeps it: greetings with the relay within a window, labels
// from its EdgeSync, renewals in the background. Main's, on main's thread; packets go through the
// workers' mailboxes. Edges' Enrol statements are not verified: the keys that they certify are for
// an end-to-end layer that the generator does not speak.
#pragma once

#include <deque>
#include <set>
#include <vector>

#include "base/clock.h"
#include "pktgen/agent_session.h"
#include "pktgen/flow.h"

namespace sluice::pktgen {

struct ConnectorStats {
  uint64_t sessions = 0;  // made, renewals included
  uint64_t rekeys = 0;    // of these, renewals
  uint64_t retries = 0;   // HELLOs sent again, for want of an answer
  uint64_t cookies = 0;   // RETRYs obeyed
  double seconds = 0;     // until all were up
};

class Connector {
 public:
  // One mailbox per device. Headers of all flows are set.
  Connector(const FleetOptions& options, const KeySource& keys, const Clock& clock,
            std::vector<Mailbox*> mailboxes, std::vector<FlowTable*> tables);
  ~Connector();

  // One round of what is to be done; false: nothing was.
  bool poll();

  uint32_t up() const { return up_; }
  bool all_up() const { return up_ == sessions_.size(); }
  const ConnectorStats& stats() const { return stats_; }
  // Why those that are not up are not, in words; for the error when time is over.
  std::string complaint() const;

 private:
  size_t device_of(uint32_t agent) const { return agent % mailboxes_.size(); }
  uint32_t local_of(uint32_t agent) const {
    return agent / static_cast<uint32_t>(mailboxes_.size());
  }

  void start_greetings(uint64_t now_ms);
  void start_renewals(uint64_t now_ms);
  void check_timers(uint64_t now_ms);
  void greet(uint32_t agent, uint64_t now_ms);
  void send_hello(uint32_t agent, uint64_t now_ms);
  void read_greeting(uint32_t agent, Bytes packet, uint64_t now_ms);
  void welcome(uint32_t agent, const agent::Welcome& welcome, uint64_t now_ms);
  void confirm(uint32_t agent, uint64_t now_ms);
  void read_control(uint32_t agent, uint64_t request, Bytes message, uint64_t now_ms);
  uint64_t hello_time(AgentSession& s);

  const FleetOptions& options_;
  const KeySource& keys_;
  const Clock& clock_;
  std::vector<Mailbox*> mailboxes_;
  std::vector<FlowTable*> tables_;

  std::vector<AgentSession> sessions_;
  std::deque<uint32_t> to_greet_;
  std::set<uint32_t> waiting_;  // something is expected: an answer, or labels
  std::deque<uint32_t> by_age_;
  // Renewals have nothing to wait for: nothing answers their KEEPALIVE, so it is repeated.
  struct Repeat {
    uint64_t due_ms;
    uint32_t agent;
    uint8_t left;
  };
  std::deque<Repeat> repeats_;
  uint32_t up_ = 0;
  uint64_t began_ms_;
  double renewal_tokens_ = 1;
  uint64_t renewal_at_ms_;
  int64_t time_offset_ms_ = 0;
  uint64_t answers_ = 0;
  ConnectorStats stats_;
};

}  // namespace sluice::pktgen
