#include "dataplane/seal_shape.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {

using fabric::DropReason;

void open(Context& c, Burst& b) noexcept {
  SealWork work;
  for (Slot& s : b) {
    if (s.at(Next::kOpen)) work.add(s, s.session->key_in, s.session->salt_in);
  }
  c.aead.open({work.ops, work.count});
  const fabric::Agent* agents = c.tables.agents;
  for (unsigned i = 0; i < work.count; ++i) {
    Slot& s = *work.slots[i];
    if (!work.ops[i].ok) {
      s.die(DropReason::kBadTag);
      continue;
    }
    const bool mine = agents[s.session->agent].owner.load(std::memory_order_acquire) == c.worker;
    s.next = mine ? Next::kCommit : Next::kHandover;
  }
}

}  // namespace sluice::dataplane
