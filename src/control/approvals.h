// Calls that wait for somebody's approval. Their records are the workers'; this keeps who may see
// and decide them, gives each its time, and tells the worker that owns the caller what was decided,
// again and again until the record says that it heard: the agent may move meanwhile, a ring be
// full, the callee be away. Control thread; what waits does not survive the process.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "control/config.h"
#include "control/trust_table.h"
#include "fabric/arena.h"
#include "fabric/mailbox.h"

namespace sluice::control {

enum class CallVerdict : uint8_t { kApproved, kDenied, kTimedOut };

struct ParkedCall {
  uint32_t id = 0;      // random: one that was decided in an earlier life is not taken for another
  uint32_t caller = 0;  // agents by index
  uint32_t callee = 0;
  uint32_t label = 0;
  uint32_t place = 0;  // in its caller's page
  wire::Envelope envelope{};
  uint64_t since_ms = 0;  // Unix
  uint64_t until_ms = 0;  // what nobody has said by then is no
  std::optional<CallVerdict> verdict;
  uint64_t told_at = 0;  // ticks, the last time
};

class Approvals {
 public:
  Approvals(const CallsConfig& config, const Clock& clock, fabric::Arena& arena, TrustTable& trust,
            fabric::Mailboxes& mailboxes)
      : config_(config), clock_(clock), arena_(arena), trust_(trust), mailboxes_(mailboxes) {}

  // A worker's event: the agent's call at that place of its page waits.
  void parked(uint32_t agent, uint32_t place);
  // Those that nobody has decided yet, by id.
  const std::map<uint32_t, ParkedCall>& waiting() const { return waiting_; }
  // False: it does not wait (any more).
  bool decide(uint32_t id, CallVerdict verdict);
  // True if there is something that is to be looked at again soon.
  bool poll();

 private:
  bool stands(const ParkedCall& call) const;
  void tell(ParkedCall& call);

  const CallsConfig& config_;
  const Clock& clock_;
  fabric::Arena& arena_;
  TrustTable& trust_;
  fabric::Mailboxes& mailboxes_;
  std::map<uint32_t, ParkedCall> waiting_;
  uint64_t warned_ = 0;                     // ticks
  std::map<uint32_t, ParkedCall> decided_;  // that a worker has not heard of yet
};

}  // namespace sluice::control
