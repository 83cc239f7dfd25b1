#include "dataplane/stages.h"

namespace sluice::dataplane {

void open(Context& c, Burst& b) noexcept {
  SealWork& work = b.work;
  const uint64_t authentic = c.aead.open({work.ops, work.count});
  const uint64_t all = work.count == 64 ? ~uint64_t{0} : (uint64_t{1} << work.count) - 1;
  for (uint64_t forged = all & ~authentic; forged != 0; forged &= forged - 1) {
    work.slots[__builtin_ctzll(forged)]->die(fabric::DropReason::kBadTag);
  }
}

}  // namespace sluice::dataplane
