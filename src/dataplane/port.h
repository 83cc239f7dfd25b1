// A DPDK port: configured, started and stopped by the main thread; polled by workers meanwhile.
#pragma once

#include <memory>

#include "base/error.h"
#include "dataplane/context.h"
#include "dataplane/pools.h"
#include "fabric/port_status.h"

namespace sluice::dataplane {

class Port {
 public:
  // Finds the device that EAL probed, gives it `rx_queues` and `tx_queues`, starts it.
  // `index`: its number in the topology, by which `pools` knows its queues.
  static Result<std::unique_ptr<Port>> start(const fabric::PortConfig& config, uint16_t index,
                                             uint16_t rx_queues, uint16_t tx_queues,
                                             const Pools& pools);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  const PortView& view() const { return view_; }
  fabric::PortStatus status() const;
  bool link_up() const;

 private:
  Port() = default;

  fabric::PortConfig config_;
  PortView view_;
  uint16_t rx_queues_ = 0;
  uint16_t tx_queues_ = 0;
};

}  // namespace sluice::dataplane
