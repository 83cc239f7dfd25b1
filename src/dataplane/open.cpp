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
  for (unsigned i = 0; i < work.count; ++i) {
    if (work.ops[i].ok) {
      work.slots[i]->next = Next::kCommit;
    } else {
      work.slots[i]->die(DropReason::kBadTag);
    }
  }
}

}  // namespace sluice::dataplane
