#include "dataplane/stages.h"

namespace sluice::dataplane {

using fabric::DropReason;

void open(Context& c, Burst& b) noexcept {
  crypto::AeadOp ops[fabric::kMaxBurst];
  Slot* of[fabric::kMaxBurst];
  unsigned n = 0;
  for (Slot& s : b) {
    if (!s.at(Next::kOpen)) continue;
    crypto::AeadOp& op = ops[n];
    op.key = &s.session->key_in;
    op.aad = s.outer;
    op.aad_size = sizeof(wire::OuterHeader);
    op.tag = s.outer + sizeof(wire::OuterHeader);
    op.text = s.outer + wire::kDataRegion;
    op.text_size = static_cast<uint32_t>(s.size - wire::kDataRegion);
    std::memcpy(op.nonce, s.session->salt_in, 4);
    std::memcpy(op.nonce + 4, s.outer + 8, 8);
    of[n++] = &s;
  }
  c.aead.open({ops, n});
  for (unsigned i = 0; i < n; ++i) {
    Slot& s = *of[i];
    if (!ops[i].ok) {
      s.die(DropReason::kBadTag);
      continue;
    }
    const fabric::Agent& agent = c.arena.agents()[s.session->agent];
    const bool mine = agent.owner.load(std::memory_order_acquire) == c.worker;
    s.next = mine ? Next::kCommit : Next::kHandover;
  }
}

}  // namespace sluice::dataplane
