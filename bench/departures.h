// What the relay sent, judged: takes every frame out of the workers' TX rings in order and counts
// those of a revoked agent that were handed over after its cut. Main thread.
//
// Agents below `targets` come in pairs: the even one is revoked, the odd one talks to nobody else,
// so a frame to either is a packet of the revoked agent, unless it is a CONTROL frame of the
// relay's own: to the peer (the notice, its new edges), which is acknowledged, or the one notice to
// the revoked one itself; or the relay's CALL_DENY of a call of the peer's. Those are opened with
// the receiver's key.
#pragma once

#include <vector>

#include "bench/in_memory.h"
#include "bench/load.h"

namespace sluice::pb {
class Control;
}

namespace sluice::bench {

class Departures {
 public:
  Departures(InMemoryRelay& relay, Load& load, uint32_t targets);

  void begin(uint32_t agent);                       // the next to be revoked
  void expect(uint64_t token) { expect_ = token; }  // of its quiescent points
  void cut();                                       // control says that it is cut: positions now
  void collect();

  bool marked() const;                         // the markers of all TX queues have come
  uint64_t reported_at() const;                // then: ticks of the last worker's report
  uint64_t passed() const { return passed_; }  // packets of the agent that left before
  uint64_t behind() const { return behind_; }  // and after, of any agent, over the whole run
  uint64_t acknowledged() const { return acknowledged_; }
  uint64_t farewells() const { return farewells_; }  // notices to revoked agents themselves
  uint64_t denied() const { return denied_; }        // calls of peers, told that it is revoked
  uint64_t not_authentic() const { return not_authentic_; }

 private:
  void judge(unsigned queue, rte_mbuf* m);
  void open(uint32_t to, uint8_t* outer, size_t size);
  void to_revoked(uint32_t agent, const pb::Control& body);

  InMemoryRelay& relay_;
  Load& load_;
  const uint32_t targets_;
  struct Queue {
    uint64_t taken = 0;
    uint64_t cut_at = UINT64_MAX;  // frames in the queue at the cut stand before this position
    bool marked = false;
    uint64_t reported_at = 0;
  };
  std::vector<Queue> queues_;
  uint32_t agent_ = 0;
  uint64_t expect_ = UINT64_MAX;
  uint64_t passed_ = 0, behind_ = 0, acknowledged_ = 0, farewells_ = 0, denied_ = 0,
           not_authentic_ = 0;
  uint32_t told_ = UINT32_MAX;  // the revoked agent that had its notice last
};

}  // namespace sluice::bench
