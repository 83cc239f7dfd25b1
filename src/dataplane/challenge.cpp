#include "dataplane/stages.h"
#include "fabric/buffer.h"

namespace sluice::dataplane {

void challenge(Context& c, const Burst& b, Burst& out) noexcept {
  for (unsigned i = 0; i < b.count; ++i) {
    const Slot& from = b.slots[i];
    if (!from.challenge) continue;
    rte_mbuf* m = fabric::take_buffer(c.pool);
    if (m == nullptr) return;  // the next packet from there asks again
    Slot& s = out.add(m);
    s.outer = static_cast<uint8_t*>(m->buf_addr) + m->data_off;
    s.size = wire::kDataMin;
    const wire::PathHeader path = from.path();
    const uint64_t value = challenge_value(c, from.session_index, path, 0);
    wire::write_frame(
        s.outer + wire::kDataRegion,
        {uint8_t(wire::FrameType::kKeepalive), uint8_t(wire::KeepaliveFlag::kPing), 0, 0, value});
    s.session = s.out = from.session;
    s.session_index = s.out_index = from.session_index;
    fabric::meta_of(m).path = path;
    s.to_meta_path = true;
    s.next = Next::kForward;
    c.counters.challenges.add(1);
  }
}

}  // namespace sluice::dataplane
