// One hostile flood of one worker: packets from templates made before it begins. One thread.
#pragma once

#include "pktgen/sender.h"

namespace sluice::pktgen {

class Flooder {
 public:
  // `pps`: this worker's share, 0 for as many as the generator can.
  Flooder(WorkerContext& context, Sender& sender, const Flood& flood, double pps,
          const Traffic& traffic, const ByteArray<32>& relay_key);
  ~Flooder();

  void poll(uint64_t now) noexcept;

 private:
  static constexpr unsigned kBurst = Transmitter::kBurst;

  void make_hellos(const ByteArray<32>& relay_key);
  // Writes one packet at `at`; returns its size, 0 for none. Sets the queue that it belongs to.
  uint16_t write(uint8_t* at, uint16_t& queue) noexcept;
  uint16_t write_data(const Flow& flow, uint32_t receiver, uint8_t* at) noexcept;
  void spoof_source(uint8_t* at) noexcept;
  Bytes noise(size_t size) noexcept;

  WorkerContext& c_;
  Sender& sender_;
  FloodKind kind_;
  Transmitter out_;
  Pacer pacer_;
  bool begun_ = false;
  double pps_;
  uint16_t data_payload_;
  wire::Seal seal_;
  uint64_t random_;
  std::vector<uint8_t> noise_;
  std::vector<Buffer> hellos_;
};

}  // namespace sluice::pktgen
