// What agents may look up: others of their tenant that are public, and the statements behind their
// own pairs. Whoever is asked for, the answer comes at the same moment. Control thread.
#pragma once

#include <deque>
#include <functional>

#include "control.pb.h"
#include "control/agent_pace.h"
#include "control/store.h"
#include "control/trust_table.h"

namespace sluice::control {

class Directory {
 public:
  Directory(const Clock& clock, TrustTable& trust, Store& store, AgentPace& pace)
      : clock_(clock), trust_(trust), store_(store), pace_(pace) {}

  // Answers at a later round of `poll`; never, if the agent asks too fast.
  void lookup(uint32_t agent, const pb::Lookup& lookup, std::function<void(const pb::Found&)> done);
  // A statement that made one of the agent's pairs; empty for every other digest. Not answered if
  // the store cannot read it now: the agent asks again.
  void fetch(uint32_t agent, const pb::Fetch& fetch, std::function<void(const pb::Signed&)> done);
  // True while answers wait for their moment.
  bool poll();

 private:
  bool is_peers_rotation(uint32_t agent, const Digest& digest) const;

  struct Answer {
    uint64_t due;
    std::function<void()> give;
  };
  const Clock& clock_;
  TrustTable& trust_;
  Store& store_;
  AgentPace& pace_;
  std::deque<Answer> answers_;
};

}  // namespace sluice::control
