// Packet buffers into and out of their pool, with the annotations of base/annotate.h: a buffer that
// one thread gave back is soon another's.
#pragma once

#include <rte_mbuf.h>

#include "base/annotate.h"

namespace sluice::fabric {

// Null if the pool is empty.
inline rte_mbuf* take_buffer(rte_mempool* pool) noexcept {
  rte_mbuf* m = nullptr;
  {
    const InsideRing inside;
    m = rte_mbuf_raw_alloc(pool);
  }
  if (m == nullptr) return nullptr;
  taken_over(m);
  rte_pktmbuf_reset(m);
  return m;
}

// rte_pktmbuf_free, all segments; nothing of a segment is looked at behind the annotation.
inline void drop_buffer(rte_mbuf* m) noexcept {
  while (m != nullptr) {
    rte_mbuf* next = m->next;
    if (rte_mbuf* segment = rte_pktmbuf_prefree_seg(m); segment != nullptr) {
      given_away(segment);
      const InsideRing inside;
      rte_mbuf_raw_free(segment);
    }
    m = next;
  }
}

}  // namespace sluice::fabric
