// The whole generator: EAL, buffers, ports, workers and the connector, in the order in which they
// depend on each other. Owned by main, used by main's thread.
#pragma once

#include <functional>

#include "pktgen/capture.h"
#include "pktgen/connector.h"
#include "pktgen/eal.h"
#include "pktgen/worker.h"

namespace sluice::pktgen {

// Set by SIGINT and SIGTERM: whatever goes on ends in order.
bool interrupted() noexcept;
void catch_signals() noexcept;

class Fleet {
 public:
  // Starts devices and workers and finds the relay's MAC address. `options` outlives the fleet.
  static Result<std::unique_ptr<Fleet>> start(const FleetOptions& options);
  ~Fleet();
  Fleet(const Fleet&) = delete;
  Fleet& operator=(const Fleet&) = delete;

  // Until every agent has its session and label. `progress` is called now and then.
  Result<void> connect(const std::function<void(const Connector&)>& progress);

  // What main has to do beside measuring; naps if there is nothing.
  void serve();

  const FleetOptions& options() const { return options_; }
  const Clock& clock() const { return clock_; }
  const Connector& connector() const { return *connector_; }
  bool is_virtual() const { return devices_[0]->port->is_virtual(); }
  size_t devices() const { return devices_.size(); }
  Worker& worker(size_t device) { return *devices_[device]->worker; }
  const Stats& stats(size_t device) const { return devices_[device]->stats; }
  // Share of the agents that are at this device.
  double share(size_t device) const;
  uint64_t captured() const { return capture_file_ ? capture_file_->written() : 0; }
  uint64_t capture_missed() const;

 private:
  struct Device {
    DeviceOptions options;
    std::unique_ptr<Port> port;
    std::unique_ptr<Mailbox> mailbox;
    std::unique_ptr<FlowTable> flows;
    std::unique_ptr<CaptureRing> capture;
    SendTimes send_times;
    Stats stats;
    std::unique_ptr<Worker> worker;
    unsigned lcore = 0;
  };

  explicit Fleet(const FleetOptions& options) : options_(options) {}
  Result<void> start_device(size_t index);
  Result<void> prepare_flows(size_t index);
  Result<void> find_relay(Device& d);
  Result<void> start_workers();

  const FleetOptions& options_;
  Clock clock_;
  uint64_t last_busy_ = 0;  // ticks, when main last had something to do
  std::unique_ptr<KeySource> keys_;
  std::unique_ptr<CaptureFile> capture_file_;
  std::unique_ptr<Eal> eal_;
  PoolHandle pool_;
  PoolHandle presealed_pool_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<SendTimes*> send_times_;
  std::unique_ptr<Connector> connector_;
};

}  // namespace sluice::pktgen
