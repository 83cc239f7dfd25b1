#include "dataplane/stages.h"

namespace sluice::dataplane {

// Before the AEAD: whoever cannot seal can take from a tenant's share only what arrives from the
// address of one of its agents.
void wait_for_turn(Context& c, Burst& b) noexcept {
  const Tables t = c.tables;
  for (Slot& s : b) {
    if (!s.at(Next::kCommit)) continue;
    const uint32_t tenant =
        s.from_endpoint ? t.agents[s.session->agent].tenant : FairShare::kStrangers;
    if (c.fair->put(s, tenant)) {
      s.next = Next::kWait;
    } else {
      s.die(fabric::DropReason::kTenantShare);
    }
  }
  b.work.count = 0;
}

}  // namespace sluice::dataplane
