#include <rte_ethdev.h>

#include "base/annotate.h"
#include "dataplane/stages.h"

namespace sluice::dataplane {

unsigned receive(Context& c, Burst& b, fabric::QueueRef q) noexcept {
  rte_mbuf* mbufs[fabric::kMaxBurst];
  const uint16_t n = rte_eth_rx_burst(c.ports[q.port].dpdk_id, q.queue, mbufs, c.options.burst);
  if (n == 0) return 0;
  if (c.options.latency) b.received = c.clock.ticks();
  const auto worker = static_cast<uint8_t>(c.worker);
  const auto port = static_cast<uint8_t>(q.port);
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < n; ++i) {
    rte_mbuf* m = mbufs[i];
    taken_over(m);
    rte_prefetch0(rte_pktmbuf_mtod(m, void*));
    bytes += m->pkt_len;
    Slot& s = b.add(m);
    s.port = port;
    s.received_by = worker;
  }
  c.counters.rx_packets.add(n);
  c.counters.rx_bytes.add(bytes);
  return n;
}

}  // namespace sluice::dataplane
