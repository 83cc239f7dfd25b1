// The traffic of one worker: picks flows in their order, writes and seals bursts of packets as
// their time comes, and hands them to the queues. Also sends what main asks for.
#pragma once

#include "pktgen/pacer.h"
#include "pktgen/replay_store.h"
#include "pktgen/seal_frame.h"
#include "pktgen/worker_context.h"

namespace sluice::pktgen {

class Sender {
 public:
  explicit Sender(WorkerContext& context);
  ~Sender();

  // `pps`: this worker's share. With presealed traffic, this is where it is sealed.
  void begin(const Traffic& traffic, double pps);
  void end() noexcept;
  void poll(uint64_t now) noexcept;

  // A frame of main's, sealed in the running session.
  void send_frame(uint32_t local, rte_mbuf* m) noexcept;
  void send_raw(uint16_t queue, rte_mbuf* m) noexcept;

  // Everything presealed has left.
  bool exhausted() const noexcept {
    return !presealed_.empty() && next_presealed_ == presealed_.size() && out_.empty();
  }
  ReplayStore* replay_store() { return replay_.get(); }

 private:
  static constexpr unsigned kBurst = Transmitter::kBurst;

  void make_order();
  void build(unsigned n, uint64_t burst, rte_mbuf** packets) noexcept;
  void preseal(uint32_t count);
  void queue_presealed(unsigned n) noexcept;
  void post(unsigned n, rte_mbuf** packets) noexcept;
  void post_side(uint16_t queue, rte_mbuf* m) noexcept;
  void transmit() noexcept;
  uint16_t next_payload() noexcept;
  uint16_t queue_of(const Flow& flow) noexcept;
  void finish(rte_mbuf* m, const Flow& flow, uint16_t size) noexcept;

  WorkerContext& c_;
  const Traffic* traffic_ = nullptr;
  Transmitter out_;
  Transmitter side_;  // main's frames
  Pacer pacer_;
  std::vector<uint32_t> order_;
  size_t at_ = 0;
  size_t size_at_ = 0;
  uint32_t until_probe_ = 0;
  uint64_t burst_ = 0;
  uint64_t random_;
  uint32_t stray_below_ = 0;  // of 2^32
  std::vector<rte_mbuf*> presealed_;
  std::vector<uint16_t> presealed_queues_;
  std::vector<uint64_t> presealed_bursts_;
  size_t next_presealed_ = 0;
  std::unique_ptr<ReplayStore> replay_;
};

}  // namespace sluice::pktgen
