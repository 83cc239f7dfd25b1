// A device of the generator: started and stopped by the main thread. Its queues are polled by main
// until the workers start, then by the device's worker alone.
#pragma once

#include <memory>

#include "pktgen/options.h"

struct rte_mempool;

namespace sluice::pktgen {

class Port {
 public:
  static Result<std::unique_ptr<Port>> start(const DeviceOptions& device, uint16_t queues,
                                             const FleetOptions& options, rte_mempool* pool);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  uint16_t id() const { return id_; }
  uint16_t queues() const { return queues_; }
  const wire::Mac& mac() const { return mac_; }
  // What a full transmit ring means: of a virtual device, that the peer does not keep up; of a
  // NIC, that the line is full.
  bool is_virtual() const { return virtual_; }
  bool fills_udp_checksum() const { return udp_checksum_; }

 private:
  Port() = default;
  uint16_t id_ = 0;
  uint16_t queues_ = 1;
  wire::Mac mac_{};
  bool virtual_ = false;
  bool udp_checksum_ = false;
};

}  // namespace sluice::pktgen
