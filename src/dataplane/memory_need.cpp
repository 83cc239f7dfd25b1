// Sizes of DPDK's structures, but nothing of its libraries: a command line works them out as well.
#include "dataplane/memory_need.h"

#include <algorithm>
#include <fstream>

#include <rte_mbuf.h>

#include <fmt/format.h>

#include "dataplane/af_packet.h"
#include "dataplane/fair_share.h"
#include "fabric/mailbox.h"

namespace sluice::dataplane {
namespace {

constexpr size_t kRingsPerWorker = 256u << 10;
constexpr size_t kEalOwn = 32u << 20;  // its memzones, device data, telemetry

}  // namespace

MemoryNeed memory_need(const fabric::Topology& t, uint32_t packet_buffers, size_t arena) {
  MemoryNeed need;
  // What full rings to and from control and between workers hold, and control's own queues.
  size_t buffers = t.workers.size() * fabric::kMailboxSlots + 2048;
  uint32_t largest = 1500;  // what a buffer must hold
  for (uint16_t p = 0; p < t.ports.size(); ++p) {
    const auto& port = t.ports[p];
    buffers +=
        size_t{t.rx_queues(p)} * port.rx_descriptors + t.workers.size() * port.tx_descriptors;
    largest = std::max<uint32_t>(largest, port.mtu);
    // A size beyond that, or none at all, is refused when the port starts.
    if (is_af_packet(port)) {
      const uint32_t frame = std::clamp(af_packet_frame(port), 128u, kLargestRingFrame);
      largest = std::max(largest, frame - 128);
    }
  }
  buffers += t.workers.size() * (kPoolCache * 2 + 4 * fabric::kMaxBurst + FairShare::kHeld);
  need.buffers = packet_buffers != 0 ? packet_buffers : static_cast<uint32_t>(buffers);
  // A packet is one mbuf from RX to TX, jumbo included: the seal works in place on one piece.
  // 128 bytes above the MTU: Ethernet, a VLAN tag, and room that drivers round away.
  const uint32_t data = std::max<uint32_t>(2048, (largest + 128u + 63u) / 64u * 64u);
  need.buffer_size = RTE_PKTMBUF_HEADROOM + data;
  const size_t each = need.buffer_size + sizeof(rte_mbuf) + sizeof(fabric::PacketMeta) + 192;
  need.pool = need.buffers * each;
  need.rings = t.workers.size() * kRingsPerWorker + kEalOwn;
  need.arena = arena;
  return need;
}

Result<void> check_memory(const MemoryNeed& need, fabric::EalMode mode) {
  if (mode == fabric::EalMode::kNoHuge) return {};
  size_t free_pages = 0;
  std::ifstream("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages") >> free_pages;
  const size_t free_mib = free_pages * 2;
  const size_t need_mib = (need.total() >> 20) + 1;
  if (free_mib >= need_mib) return {};
  return fail(
      ErrorCode::kResource,
      fmt::format(
          "needs {} MiB of hugepages (tables {}, packet buffers {}, rings and EAL {}), "
          "{} MiB free: reserve them with host-setup, lower limits:, or set eal.mode: no_huge",
          need_mib, need.arena >> 20, need.pool >> 20, need.rings >> 20, free_mib));
}

}  // namespace sluice::dataplane
