// What the operator's YAML says about hardware: EAL mode, ports, and the core and queue map. Plain
// data; control parses it, relayd hands it to the dataplane. Immutable after start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace sluice::fabric {

inline constexpr unsigned kMaxPorts = 16;
inline constexpr unsigned kMaxWorkers = 64;
inline constexpr unsigned kMaxVerifiers = 16;
inline constexpr unsigned kMaxBurst = 64;

// shared: files in hugetlbfs under our prefix, dpdk-dumpcap can attach; in_memory: hugepages
// without files; no_huge: ordinary pages.
enum class EalMode : uint8_t { kShared, kInMemory, kNoHuge };

enum class IdleMode : uint8_t { kSpin, kBackoff };

struct PortAddress {
  bool v6 = false;
  ByteArray<16> ip{};  // IPv4 in mapped form
  uint8_t prefix = 0;  // informative: answers go back to the MAC that a packet came from
};

struct PortConfig {
  std::string name;
  std::string device;  // PCI address, or a vdev string such as net_af_packet0,iface=eth1
  std::vector<PortAddress> addresses;
  uint16_t mtu = 1500;  // IP MTU, 1280 to 9000
  uint16_t rx_descriptors = 1024;
  uint16_t tx_descriptors = 1024;
  int line = 0;
};

struct QueueRef {
  uint16_t port = 0;  // index into ports
  uint16_t queue = 0;
};

struct WorkerConfig {
  unsigned core = 0;
  std::vector<QueueRef> queues;
};

struct Topology {
  EalMode mode = EalMode::kShared;
  std::string file_prefix = "sluice";
  std::vector<std::string> eal_args;  // handed to EAL as they are
  std::vector<PortConfig> ports;
  unsigned control_core = 0;
  std::vector<WorkerConfig> workers;
  std::vector<unsigned> verifiers;  // cores that verify the signatures of calls
  IdleMode idle = IdleMode::kSpin;
  uint16_t burst = 32;  // 1 to kMaxBurst

  // RX queues of a port: one more than the highest number in the map.
  uint16_t rx_queues(uint16_t port) const {
    uint16_t n = 0;
    for (const auto& w : workers) {
      for (const auto& q : w.queues) {
        if (q.port == port && q.queue >= n) n = static_cast<uint16_t>(q.queue + 1);
      }
    }
    return n;
  }
};

}  // namespace sluice::fabric
