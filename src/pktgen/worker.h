// One traffic worker: a thread that owns a device's queues, its agents' sessions and their traffic.
// Main starts it, says which phase it wants, and reads its statistics.
#pragma once

#include <atomic>
#include <memory>

#include "pktgen/flooder.h"
#include "pktgen/intake.h"

namespace sluice::pktgen {

// kRest: sessions are served, the core is shared. kTraffic: as planned. kDrain: receive and count,
// send no traffic.
enum class Phase : uint8_t { kRest, kTraffic, kDrain };

class Worker {
 public:
  Worker(const WorkerContext& context, const ByteArray<32>& relay_key);

  // Main's side. `traffic` lives until the worker rests again.
  void begin(const Traffic& traffic, double pps, double flood_share);
  void drain() { wanted_.store(Phase::kDrain, std::memory_order_release); }
  void rest() { wanted_.store(Phase::kRest, std::memory_order_release); }
  bool reached(Phase p) const { return phase_.load(std::memory_order_acquire) == p; }
  bool exhausted() const { return exhausted_.load(std::memory_order_acquire); }
  void stop() { stopping_.store(true, std::memory_order_release); }

  void run() noexcept;

 private:
  void enter(Phase phase);
  bool serve_main() noexcept;
  void obey(rte_mbuf* m) noexcept;
  void note_pause(uint64_t now) noexcept;

  WorkerContext c_;
  ByteArray<32> relay_key_;
  Sender sender_;
  Intake intake_;
  std::vector<std::unique_ptr<Flooder>> floods_;

  std::atomic<Phase> wanted_{Phase::kRest};
  std::atomic<Phase> phase_{Phase::kRest};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> exhausted_{false};
  const Traffic* traffic_ = nullptr;
  double pps_ = 0;
  double flood_share_ = 1;
  uint64_t flood_from_ = 0;
  uint64_t flood_until_ = 0;
  uint64_t last_ = 0;
};

}  // namespace sluice::pktgen
