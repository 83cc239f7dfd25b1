// Fair shares of a worker that has more to do than time: packets wait in a queue for each tenant,
// and the queues take turns by deficit round robin (Shreedhar and Varghese, SIGCOMM 1995), in units
// of what a packet costs. A queue may grow to what is free (Choudhury and Hahne, "Dynamic Queue
// Length Thresholds", 1998), so one tenant alone has half of the room, and others always find some.
// What waits was looked up, not opened: taken out, it is looked up again, since its session may
// have ended. The worker's thread; memory is taken when it is built.
#pragma once

#include <array>
#include <memory>

#include "dataplane/burst.h"

namespace sluice::dataplane {

class FairShare {
 public:
  static constexpr uint32_t kHeld = 1024;  // packets of all tenants together
  // Instead of a tenant's number: of packets that do not come from their session's endpoint, which
  // anybody may have sent.
  static constexpr uint32_t kStrangers = 65'536;
  // In bytes: what each packet costs beside its length, and a signature that is verified for it.
  static constexpr int32_t kEach = 192;
  static constexpr int32_t kSignature = 4096;

  FairShare() noexcept;
  bool empty() const noexcept { return held_ == 0; }

  // False: the tenant has all the room that it may have.
  bool put(const Slot& s, uint32_t tenant) noexcept;
  // Work that one of its packets turned out to be. Nothing while nobody waits.
  void charge(uint32_t tenant, int32_t cost) noexcept;
  // Those whose turn it is, at most `most`, at the end of `b`, as `parse` leaves them but without
  // their sessions.
  unsigned take(Burst& b, unsigned most) noexcept;

 private:
  static constexpr int32_t kQuantum = 2048;
  static constexpr int32_t kMostDebt = 65'536;
  static constexpr unsigned kVisits = 512;  // of queues in one `take`, most of them in debt
  static constexpr uint16_t kNobody = 0xffff;
  static constexpr uint32_t kQueues = 2 * kHeld;  // in debt, or with something in them

  struct Packet {
    rte_mbuf* mbuf = nullptr;
    uint16_t at = 0;  // of the outer header, in the buffer
    uint16_t size = 0;
    uint16_t next = kNobody;
    uint8_t tos = 0;
    uint8_t port : 7 = 0;
    bool v6 : 1 = false;
  };
  struct Queue {
    uint32_t tenant = 0;
    int32_t deficit = 0;
    uint16_t first = kNobody;
    uint16_t last = kNobody;
    uint16_t packets = 0;
    bool served = false;  // has had its quantum of this turn
  };
  static_assert(sizeof(Packet) == 16 && fabric::kMaxPorts <= 128);

  Queue* queue_of(uint32_t tenant) noexcept;
  Queue& front() noexcept { return queues_[turns_[first_turn_ % kQueues]]; }
  void to_the_end() noexcept;
  void leave() noexcept;
  void hand_out(Queue& q, Burst& b) noexcept;

  uint32_t held_ = 0;
  uint32_t first_turn_ = 0;  // turns_ is a ring of the queues in use
  uint32_t turn_count_ = 0;
  uint16_t free_packet_ = 0;  // a list through Packet::next
  uint16_t free_queues_ = kQueues;
  std::unique_ptr<Packet[]> packets_{new Packet[kHeld]};
  std::unique_ptr<Queue[]> queues_{new Queue[kQueues]};
  std::unique_ptr<uint16_t[]> turns_{new uint16_t[kQueues]};
  std::unique_ptr<uint16_t[]> unused_{new uint16_t[kQueues]};
  std::unique_ptr<uint16_t[]> by_tenant_{new uint16_t[kStrangers + 1]};
};

}  // namespace sluice::dataplane
