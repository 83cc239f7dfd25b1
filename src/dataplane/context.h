// What a worker's stages may touch: references to state with an owner elsewhere, and the worker's
// own. One per worker, built before it starts, used by that thread alone.
#pragma once

#include <vector>

#include "base/clock.h"
#include "crypto/aead.h"
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
  bool tx_udp_checksum = false;          // the device fills UDP checksums over IPv6
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

  uint64_t now = 0;  // ticks at the start of this round
  Budget responder{2000, 200, 0, 0};
};

}  // namespace sluice::dataplane
