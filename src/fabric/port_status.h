// What control may know of ports without DPDK's types: filled by the dataplane on request.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sluice::fabric {

struct PortStatus {
  std::string name;
  std::string device;
  std::string driver;
  std::string mac;
  uint16_t mtu = 0;
  uint16_t rx_queues = 0;
  uint16_t tx_queues = 0;
  int socket = -1;
  bool link_up = false;
  uint32_t link_mbps = 0;     // 0: the device does not know
  uint64_t rx_missed = 0;     // dropped by the device: its RX ring was full
  uint64_t rx_no_buffer = 0;  // dropped by the device: the pool was empty
  uint64_t tx_errors = 0;
  double worst_drain_us = 0;  // a full TX ring of the longest frames at link speed
};

using PortStatusReader = std::function<std::vector<PortStatus>()>;

}  // namespace sluice::fabric
