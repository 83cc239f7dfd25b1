// Copies of packets that were sent, for the replay flood. A copy is staged when its packet is made
// and counts once all of its burst has left, so a replay never overtakes the original.
#pragma once

#include <vector>

#include "base/bytes.h"

namespace sluice::pktgen {

class ReplayStore {
 public:
  struct Packet {
    uint16_t size = 0;
    uint16_t queue = 0;
    uint8_t bytes[1532];
  };

  ReplayStore() : packets_(kSize) {}

  void stage(Bytes frame, uint16_t queue) noexcept {
    if (frame.size() > sizeof(Packet::bytes)) return;
    Packet& p = packets_[staged_ % kSize];
    std::memcpy(p.bytes, frame.data(), frame.size());
    p.size = static_cast<uint16_t>(frame.size());
    p.queue = queue;
    ++staged_;
  }
  void commit() noexcept { ready_ = staged_; }

  const Packet* pick(uint64_t random) const noexcept {
    const uint64_t have = ready_ < kSize - 64 ? ready_ : kSize - 64;
    return have == 0 ? nullptr : &packets_[(ready_ - 1 - random % have) % kSize];
  }

 private:
  static constexpr uint64_t kSize = 1024;
  std::vector<Packet> packets_;
  uint64_t staged_ = 0;
  uint64_t ready_ = 0;
};

}  // namespace sluice::pktgen
