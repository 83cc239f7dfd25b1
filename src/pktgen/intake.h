// What comes back: traffic counted by receiver index and size, a share of it opened and checked;
// control frames and answers to greetings passed to main; questions for addresses answered.
#pragma once

#include "pktgen/sender.h"

namespace sluice::pktgen {

class Intake {
 public:
  Intake(WorkerContext& context, Sender& sender);

  void begin(const Traffic& traffic);
  void end() noexcept { counting_ = false; }
  // False: nothing had come.
  bool poll() noexcept;

 private:
  static constexpr unsigned kBurst = 64;
  static constexpr size_t kSizes = 16384;

  // Numbers of one flow that were seen: the last 64, and the highest.
  struct Seen {
    uint64_t next = 0;
    uint64_t bits = 0;
  };

  void take(rte_mbuf* m, uint64_t now) noexcept;
  void take_data(rte_mbuf* m, uint8_t* outer, uint32_t size, uint64_t now) noexcept;
  void open(rte_mbuf* m, uint8_t* outer, uint32_t size, uint64_t now) noexcept;
  void check_datagram(const uint8_t* frame, uint32_t size, uint32_t local, uint64_t now) noexcept;
  void check_order(uint32_t flow, uint64_t number) noexcept;
  void pass_control(rte_mbuf* m, const uint8_t* frame, uint32_t local) noexcept;
  void pass_greeting(rte_mbuf* m, const uint8_t* payload) noexcept;

  WorkerContext& c_;
  Sender& sender_;
  bool counting_ = false;
  uint32_t open_every_ = 1;
  uint32_t until_open_ = 1;
  uint8_t header_size_;
  std::vector<uint8_t> is_traffic_;  // by UDP payload size
  std::vector<Seen> seen_;           // by flow of the whole population
};

}  // namespace sluice::pktgen
