#include "bench/marker.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "bench/in_memory.h"

namespace sluice::bench {
namespace {

constexpr uint16_t kEtherType = 0x88b5;  // IEEE 802: local experiments
constexpr size_t kTypeAt = 12;
constexpr size_t kMarkerAt = 14;
constexpr uint16_t kSize = 60;

bool mark(rte_mempool* pool, uint16_t port, uint16_t queue, const Marker& marker) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool);
  if (m == nullptr) return false;
  auto* frame = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(m, kSize));
  std::memset(frame, 0, kSize);
  store_be16(frame + kTypeAt, kEtherType);
  store_le(frame + kMarkerAt, marker);
  if (rte_eth_tx_burst(port, queue, &m, 1) == 1) return true;
  rte_pktmbuf_free(m);
  return false;
}

}  // namespace

std::optional<Marker> read_marker(rte_mbuf* m) {
  const uint8_t* frame = rte_pktmbuf_mtod(m, const uint8_t*);
  if (load_be16(frame + kTypeAt) != kEtherType) return std::nullopt;
  return load_le<Marker>(frame + kMarkerAt);
}

void poll_and_mark(InMemoryRelay& relay, unsigned w, WorkerWatch& watch,
                   const std::atomic<bool>& stop) {
  dataplane::Worker& worker = relay.plane().worker(w);
  fabric::Qsbr& qsbr = relay.plane().qsbr();
  qsbr.online(w);
  uint64_t seen = qsbr.reported(w);
  while (!stop.load(std::memory_order_relaxed)) {
    const unsigned n = worker.poll_once();
    if (n == 0) watch.idle.add(1);
    const uint64_t token = qsbr.reported(w);
    if (token == seen) continue;
    seen = token;
    const Marker marker{token, relay.clock().ticks()};
    for (const auto& port : worker.context().ports) {
      if (!mark(relay.plane().pool(), port.dpdk_id, static_cast<uint16_t>(w), marker)) {
        watch.unmarked.add(1);
      }
    }
  }
  qsbr.offline(w);
}

}  // namespace sluice::bench
