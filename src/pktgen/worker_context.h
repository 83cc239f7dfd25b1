// What the parts of one traffic worker share: references to what it owns or was given.
#pragma once

#include "base/clock.h"
#include "pktgen/flow.h"
#include "pktgen/mailbox.h"
#include "pktgen/neighbour.h"
#include "pktgen/port.h"
#include "pktgen/send_times.h"
#include "pktgen/stats.h"
#include "pktgen/transmitter.h"

namespace sluice::pktgen {

struct WorkerContext {
  uint8_t device = 0;
  const Clock& clock;
  const Port& port;
  const DeviceOptions& options;
  AddressRange addresses;
  const Population& population;
  rte_mempool* pool = nullptr;
  rte_mempool* presealed_pool = nullptr;
  FlowTable& flows;
  Mailbox& mailbox;
  Stats& stats;
  CaptureRing* capture = nullptr;
  SendTimes& send_times;                          // this device's
  const std::vector<SendTimes*>& all_send_times;  // by device, for what is received

  uint64_t ns(uint64_t ticks) const noexcept {
    return static_cast<uint64_t>(double(ticks) * ns_per_tick);
  }
  double ns_per_tick = 0;
};

}  // namespace sluice::pktgen
