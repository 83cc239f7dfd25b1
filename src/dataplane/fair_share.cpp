#include "dataplane/fair_share.h"

#include <algorithm>

#include <rte_mbuf.h>

#include "base/annotate.h"

namespace sluice::dataplane {

FairShare::FairShare() noexcept {
  for (uint32_t i = 0; i < kHeld; ++i) {
    packets_[i].next = i + 1 < kHeld ? static_cast<uint16_t>(i + 1) : kNobody;
  }
  for (uint32_t i = 0; i < kQueues; ++i) unused_[i] = static_cast<uint16_t>(i);
  std::fill_n(by_tenant_.get(), kStrangers + 1, kNobody);
}

FairShare::Queue* FairShare::queue_of(uint32_t tenant) noexcept {
  uint16_t& place = by_tenant_[tenant];
  if (place == kNobody) {
    if (free_queues_ == 0) return nullptr;
    place = unused_[--free_queues_];
    queues_[place] = Queue{.tenant = tenant};
    turns_[(first_turn_ + turn_count_++) % kQueues] = place;
  }
  return &queues_[place];
}

void FairShare::to_the_end() noexcept {
  const uint16_t place = turns_[first_turn_ % kQueues];
  queues_[place].served = false;
  turns_[(first_turn_ + turn_count_) % kQueues] = place;
  ++first_turn_;
}

void FairShare::leave() noexcept {
  const uint16_t place = turns_[first_turn_ % kQueues];
  by_tenant_[queues_[place].tenant] = kNobody;
  unused_[free_queues_++] = place;
  ++first_turn_;
  --turn_count_;
}

bool FairShare::put(const Slot& s, uint32_t tenant) noexcept {
  Queue* q = queue_of(tenant);
  if (q == nullptr || q->packets >= kHeld - held_) return false;
  const uint16_t place = free_packet_;
  Packet& p = packets_[place];
  free_packet_ = p.next;
  p = Packet{.mbuf = s.mbuf,
             .at = static_cast<uint16_t>(s.outer - static_cast<uint8_t*>(s.mbuf->buf_addr)),
             .size = s.size,
             .tos = s.tos,
             .port = static_cast<uint8_t>(s.port & 0x7f),
             .v6 = s.v6};
  if (q->packets++ == 0) {
    q->first = place;
  } else {
    packets_[q->last].next = place;
  }
  q->last = place;
  ++held_;
  return true;
}

void FairShare::charge(uint32_t tenant, int32_t cost) noexcept {
  if (empty()) return;
  if (Queue* q = queue_of(tenant)) q->deficit = std::max(q->deficit - cost, -kMostDebt);
}

void FairShare::hand_out(Queue& q, Burst& b) noexcept {
  const uint16_t place = q.first;
  Packet& p = packets_[place];
  taken_over(p.mbuf);
  Slot& s = b.add(p.mbuf);
  s.outer = static_cast<uint8_t*>(p.mbuf->buf_addr) + p.at;
  s.size = p.size;
  s.tos = p.tos;
  s.port = p.port;
  s.v6 = p.v6;
  s.next = Next::kOpen;
  q.first = p.next;
  q.deficit -= p.size + kEach;
  --q.packets;
  --held_;
  p.next = free_packet_;
  free_packet_ = place;
}

unsigned FairShare::take(Burst& b, unsigned most) noexcept {
  unsigned taken = 0;
  for (unsigned visits = 0; taken < most && held_ != 0 && visits < kVisits; ++visits) {
    Queue& q = front();
    if (!q.served) q.deficit = std::min(q.deficit + kQuantum, kQuantum);
    q.served = true;
    for (; taken < most && q.packets != 0 && q.deficit > 0; ++taken) hand_out(q, b);
    if (q.packets == 0 && q.deficit >= 0) {
      leave();
    } else if (q.deficit <= 0 || q.packets == 0) {
      to_the_end();
    }
  }
  // Who owes something owes it to those who wait.
  while (held_ == 0 && turn_count_ != 0) leave();
  return taken;
}

}  // namespace sluice::dataplane
