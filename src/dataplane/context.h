// What a worker's stages may touch: references to state with an owner elsewhere, and the worker's
// own. One per worker, built before it starts, used by that thread alone.
#pragma once

#include <memory>
#include <vector>

#include "base/clock.h"
#include "crypto/aead.h"
#include "dataplane/calls.h"
#include "dataplane/fair_share.h"
#include "fabric/arena.h"
#include "fabric/mailbox.h"
#include "fabric/rcu.h"
#include "fabric/topology.h"

namespace sluice::dataplane {

// What a stage needs to know of a port. Fixed at start.
struct PortView {
  uint16_t dpdk_id = 0;
  uint16_t mtu = 1500;
  wire::Mac mac{};
  uint64_t mac48 = 0;                    // the same, as the low bytes of a word
  bool tx_udp_checksum = false;          // the device fills UDP checksums over IPv6
  uint32_t first_ip4 = 0;                // of `addresses`, as its bytes lie in a header; 0: none
  std::vector<wire::IpBytes> addresses;  // IPv4 in mapped form
};

// Tokens that refill with time: a worker's own limit on what it answers for strangers.
struct Budget {
  uint32_t per_second = 0;
  uint32_t burst = 0;
  uint64_t last = 0;
  double tokens = 0;

  bool take(uint64_t now, uint64_t hz) noexcept {
    if (last == 0) tokens = burst;
    tokens += double(now - last) * per_second / double(hz);
    last = now;
    if (tokens > burst) tokens = burst;
    if (tokens < 1) return false;
    tokens -= 1;
    return true;
  }
};

struct WorkerOptions {
  uint16_t udp_port = 7600;
  uint8_t dscp = 0;
  bool ipv4_udp_checksum = false;
  uint16_t burst = 32;
  fabric::CallOptions calls = {};
  // Packets' time from RX to TX is measured; the arena then has histograms.
  bool latency = false;
};

// The arena's tables as plain pointers. Stages copy it to their stack: packets are written through
// byte pointers, and after each such store the compiler would load everything else anew.
struct Tables {
  fabric::Session* sessions = nullptr;
  fabric::Agent* agents = nullptr;
  fabric::Edge* edges = nullptr;
  fabric::ReplayWindow* windows = nullptr;
  uint64_t* lanes = nullptr;                      // this worker's
  fabric::TenantShare* shares = nullptr;          // this worker's
  fabric::LatencyHistogram* latencies = nullptr;  // this worker's, where there are any
  fabric::AgentCredentials* credentials = nullptr;
  const fabric::CredentialSlot* credential_slots = nullptr;
  uint16_t mtus[fabric::kMaxPorts] = {};
  uint32_t session_count = 0;
  uint32_t edge_count = 0;
  uint32_t lanes_in = 0;
  // wire.md §3: nobody sends more than 2^34 packets on a key. A session has a lane for each worker,
  // so each worker may use its part of them.
  uint64_t lane_limit = 0;

  Tables() = default;
  Tables(const fabric::Arena& a, unsigned worker, const std::vector<PortView>& ports)
      : sessions(a.sessions().data()),
        agents(a.agents().data()),
        edges(a.edges().data()),
        windows(&a.window(0, 0)),
        lanes(&a.lane_counter(worker, 0)),
        shares(&a.tenant_share(worker, 0)),
        latencies(a.latencies(worker).data()),
        credentials(a.agent_credentials().data()),
        credential_slots(a.credentials().data()),
        session_count(a.sizes().sessions),
        edge_count(a.sizes().edges),
        lanes_in(a.sizes().lanes_in),
        lane_limit((uint64_t{1} << 34) / a.sizes().workers) {
    for (size_t p = 0; p < ports.size(); ++p) mtus[p] = ports[p].mtu;
  }

  fabric::ReplayWindow* window(uint32_t session, uint32_t lane) const noexcept {
    return windows + size_t{session} * lanes_in + lane;
  }
};

struct Context {
  unsigned worker = 0;
  WorkerOptions options;
  const Clock& clock;
  const crypto::Aead& aead;
  fabric::Arena& arena;
  fabric::Mailboxes& mailboxes;
  fabric::Qsbr& qsbr;
  rte_mempool* pool = nullptr;
  const std::vector<PortView>& ports;
  fabric::WorkerCounters& counters;
  const Tables tables{arena, worker, ports};

  std::unique_ptr<CallDesk> calls =
      std::make_unique<CallDesk>(worker, arena.sizes().workers, arena);

  std::unique_ptr<FairShare> fair = std::make_unique<FairShare>();
  // Its queues have brought full bursts for several rounds: there is more to do than time.
  bool saturated = false;

  uint64_t now = 0;  // ticks at the start of this round
  const uint64_t ns_per_tick_q20 = (uint64_t{1'000'000'000} << 20) / clock.hz();
  // Of less than an hour.
  uint64_t ns_from_ticks(uint64_t ticks) const noexcept { return ticks * ns_per_tick_q20 >> 20; }
  Budget responder{2000, 200, 0, 0};
};

}  // namespace sluice::dataplane
