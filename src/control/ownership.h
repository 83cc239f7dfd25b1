// Which worker an agent belongs to after its first session: an owner that sees an agent's packets
// arrive through another worker says so, and control asks it to give the agent away. The owner does
// it itself, between two bursts. Owned by the control thread.
#pragma once

#include <unordered_map>

#include "base/clock.h"
#include "fabric/mailbox.h"

namespace sluice::control {

class Ownership {
 public:
  Ownership(const Clock& clock, fabric::Arena& arena, fabric::Mailboxes& mailboxes)
      : clock_(clock), arena_(arena), mailboxes_(mailboxes) {}

  // `owner` would rather give `agent` to `to`. At most once a second for each agent, so that a flow
  // that a NIC spreads over two queues does not make the agent wander with every burst.
  void want(uint32_t agent, uint32_t owner, uint32_t to) {
    if (to >= mailboxes_.workers() || arena_.agents()[agent].owner.load() != owner) return;
    const uint64_t now = clock_.ticks();
    uint64_t& last = asked_[agent];
    if (last != 0 && now - last < clock_.hz()) return;
    if (mailboxes_.ask_to_move(owner, {agent, to})) last = now;
  }

 private:
  const Clock& clock_;
  fabric::Arena& arena_;
  fabric::Mailboxes& mailboxes_;
  std::unordered_map<uint32_t, uint64_t> asked_;  // ticks
};

}  // namespace sluice::control
