#include "pktgen/mailbox.h"

#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <fmt/format.h>

#include "crypto/secret.h"

namespace sluice::pktgen {
namespace {

rte_ring* create_ring(const char* direction, unsigned worker) {
  return rte_ring_create(fmt::format("pktgen-{}-{}", direction, worker).c_str(), kMailboxSlots,
                         SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
}

void drain(rte_ring* ring) {
  if (ring == nullptr) return;
  void* m = nullptr;
  while (rte_ring_dequeue(ring, &m) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(m));
  rte_ring_free(ring);
}

}  // namespace

Note& note_of(rte_mbuf* m) noexcept {
  return *static_cast<Note*>(rte_mbuf_to_priv(m));
}

Result<std::unique_ptr<Mailbox>> Mailbox::create(unsigned worker, rte_mempool* pool) {
  std::unique_ptr<Mailbox> box(new Mailbox);
  box->pool_ = pool;
  box->to_worker_ = create_ring("work", worker);
  box->to_main_ = create_ring("main", worker);
  if (box->to_worker_ == nullptr || box->to_main_ == nullptr) {
    return fail(ErrorCode::kResource,
                fmt::format("no memory for a ring: {}", rte_strerror(rte_errno)));
  }
  return box;
}

Mailbox::~Mailbox() {
  drain(to_worker_);
  drain(to_main_);
}

bool Mailbox::post(const Note& note, Bytes first, Bytes second) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool_);
  if (m == nullptr) return false;
  const auto size = static_cast<uint16_t>(first.size() + second.size());
  auto* at = reinterpret_cast<uint8_t*>(rte_pktmbuf_append(m, size));
  if (at != nullptr) {
    std::copy(first.begin(), first.end(), at);
    std::copy(second.begin(), second.end(), at + first.size());
    note_of(m) = note;
    if (rte_ring_enqueue(to_worker_, m) == 0) return true;
  }
  rte_pktmbuf_free(m);
  return false;
}

bool Mailbox::send_raw(uint32_t local, Bytes frame) {
  return post({.kind = NoteKind::kRaw, .local = local}, frame, {});
}

bool Mailbox::send_keys(uint32_t local, const KeyMessage& keys) {
  return post({.kind = NoteKind::kKeys, .local = local},
              {reinterpret_cast<const uint8_t*>(&keys), sizeof keys}, {});
}

bool Mailbox::send_label(uint32_t local, uint32_t label) {
  return post({.kind = NoteKind::kLabel, .local = local, .request = label}, {}, {});
}

bool Mailbox::send_frame(uint32_t local, const wire::FrameHeader& frame, Bytes extension) {
  return post({.kind = NoteKind::kSeal, .local = local},
              {reinterpret_cast<const uint8_t*>(&frame), sizeof frame}, extension);
}

bool Mailbox::receive(const std::function<void(const Note&, Bytes)>& take) {
  void* found[32];
  const unsigned n = rte_ring_dequeue_burst(to_main_, found, 32, nullptr);
  for (unsigned i = 0; i < n; ++i) {
    auto* m = static_cast<rte_mbuf*>(found[i]);
    take(note_of(m), {rte_pktmbuf_mtod(m, const uint8_t*), rte_pktmbuf_data_len(m)});
    rte_pktmbuf_free(m);
  }
  return n > 0;
}

unsigned Mailbox::take(rte_mbuf** out, unsigned most) noexcept {
  return rte_ring_dequeue_burst(to_worker_, reinterpret_cast<void**>(out), most, nullptr);
}

void Mailbox::deliver(rte_mbuf* m) noexcept {
  if (rte_ring_enqueue(to_main_, m) != 0) rte_pktmbuf_free(m);
}

}  // namespace sluice::pktgen
