// What is ready for the transmit queues of a device. What a queue does not take stays in its box
// and goes first next time; while something stays, the owner makes nothing new. One thread.
#pragma once

#include <vector>

#include "pktgen/capture.h"

struct rte_mbuf;

namespace sluice::pktgen {

class Transmitter {
 public:
  static constexpr unsigned kBurst = 64;

  Transmitter(uint16_t port, uint16_t queues, CaptureRing* capture)
      : port_(port), boxes_(queues), capture_(capture) {}
  ~Transmitter() { drop(); }
  Transmitter(const Transmitter&) = delete;
  Transmitter& operator=(const Transmitter&) = delete;

  uint16_t queues() const { return static_cast<uint16_t>(boxes_.size()); }
  // What is flushed is freed instead of sent.
  void set_dry(bool dry) { dry_ = dry; }
  bool empty() const noexcept { return waiting_ == 0; }
  bool room() const noexcept { return waiting_ < kBurst; }
  // At most kBurst between two times that it is empty.
  void add(uint16_t queue, rte_mbuf* m) noexcept {
    Box& b = boxes_[queue];
    b.packets[b.end++] = m;
    ++waiting_;
  }
  unsigned flush() noexcept;  // how many the queues took
  unsigned drop() noexcept;   // frees what waits

 private:
  struct Box {
    rte_mbuf* packets[kBurst];
    unsigned begin = 0;
    unsigned end = 0;
  };
  uint16_t port_;
  std::vector<Box> boxes_;
  CaptureRing* capture_;
  unsigned waiting_ = 0;
  bool dry_ = false;
};

}  // namespace sluice::pktgen
