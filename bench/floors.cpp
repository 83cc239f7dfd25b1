#include "bench/floors.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

namespace sluice::bench {

uint64_t GcmFloor::run(Feeder& feeder, const Traffic& traffic, unsigned burst) {
  SealShape open[fabric::kMaxBurst], seal[fabric::kMaxBurst];
  crypto::AeadOp open_ops[fabric::kMaxBurst], seal_ops[fabric::kMaxBurst];
  const auto packets = feeder.packets();
  const auto sources = feeder.sources();
  const size_t udp = wire::kDataMin + traffic.payload;
  uint64_t ticks = 0;
  for (size_t at = 0; at < packets.size(); at += burst) {
    const size_t n = std::min<size_t>(burst, packets.size() - at);
    // What a relay needs stages for; not part of the floor.
    for (size_t i = 0; i < n; ++i) {
      uint8_t* outer = rte_pktmbuf_mtod_offset(packets[at + i], uint8_t*, 42);
      const AgentSide& a = relay_.agent(sources[at + i]);
      const fabric::Session& in = relay_.arena().sessions()[a.session];
      const fabric::Session& out = relay_.arena().sessions()[relay_.agent(a.peer).session];
      shape(traffic.seal, in.key_in, in.salt_in, outer, udp, open[i]);
      open_ops[i] = open[i].op;
      shape(traffic.seal, out.key_out, out.salt_out, outer, udp, seal[i]);
      seal_ops[i] = seal[i].op;
    }
    const uint64_t before = __builtin_ia32_rdtsc();
    (void)crypto::aead().open({open_ops, n});
    crypto::aead().seal({seal_ops, n});
    ticks += __builtin_ia32_rdtsc() - before;
  }
  return ticks;
}

uint64_t forward_floor(uint16_t port, uint16_t queue, unsigned burst) {
  rte_mbuf* mbufs[fabric::kMaxBurst];
  const uint64_t before = __builtin_ia32_rdtsc();
  while (const uint16_t n = rte_eth_rx_burst(port, queue, mbufs, static_cast<uint16_t>(burst))) {
    for (uint16_t i = 0; i < n; ++i) {
      uint8_t* eth = rte_pktmbuf_mtod(mbufs[i], uint8_t*);
      uint8_t mac[6];
      std::memcpy(mac, eth, 6);
      std::memcpy(eth, eth + 6, 6);
      std::memcpy(eth + 6, mac, 6);
    }
    rte_eth_tx_burst(port, queue, mbufs, n);
  }
  return __builtin_ia32_rdtsc() - before;
}

}  // namespace sluice::bench
