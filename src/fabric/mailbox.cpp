#include "fabric/mailbox.h"

#include <rte_errno.h>
#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <fmt/format.h>

#include "fabric/buffer.h"

namespace sluice::fabric {
namespace {

constexpr unsigned kEventSlots = 1024;
constexpr unsigned kMoveSlots = 256;

// Where control puts a payload in an mbuf of its own; leaves room for any headers before it.
constexpr uint16_t kFramePayloadAt = 64;

}  // namespace

PacketMeta& meta_of(rte_mbuf* m) noexcept {
  return *static_cast<PacketMeta*>(rte_mbuf_to_priv(m));
}

Parcel::~Parcel() {
  if (mbuf_ != nullptr) drop_buffer(mbuf_);
}

MutBytes Parcel::payload() {
  const PacketMeta& m = meta();
  return {rte_pktmbuf_mtod_offset(mbuf_, uint8_t*, m.payload_offset), m.payload_size};
}

void Parcel::set_payload(Bytes bytes) {
  PacketMeta& m = meta();
  const size_t room = size_t{mbuf_->buf_len} - mbuf_->data_off - m.payload_offset;
  if (bytes.size() > room) std::abort();
  std::memcpy(rte_pktmbuf_mtod_offset(mbuf_, uint8_t*, m.payload_offset), bytes.data(),
              bytes.size());
  m.payload_size = static_cast<uint16_t>(bytes.size());
}

void RingDeleter::operator()(rte_ring* r) const {
  rte_ring_free(r);
}

Result<std::unique_ptr<Mailboxes>> Mailboxes::create(unsigned workers, rte_mempool* pool) {
  std::unique_ptr<Mailboxes> out(new Mailboxes);
  out->pool_ = pool;
  constexpr unsigned kSpSc = RING_F_SP_ENQ | RING_F_SC_DEQ;
  bool ok = true;
  for (unsigned w = 0; w < workers; ++w) {
    const auto ring = [&](const char* what, unsigned slots, unsigned flags) {
      RingHandle r(rte_ring_create(fmt::format("{}_{}", what, w).c_str(), slots, SOCKET_ID_ANY,
                                   flags | RING_F_EXACT_SZ));
      ok = ok && r != nullptr;
      return r;
    };
    Mailbox box;
    box.rekeys = ring("rekeys", kRekeySlots, kSpSc);
    box.frames = ring("frames", kFrameSlots, kSpSc);
    box.hellos = ring("hellos", kHelloSlots, kSpSc);
    box.from_control = ring("from_control", kFromControlSlots, kSpSc);
    box.handover = ring("handover", kHandoverSlots, RING_F_SC_DEQ);
    box.events.reset(rte_ring_create_elem(fmt::format("events_{}", w).c_str(), sizeof(Event),
                                          kEventSlots, SOCKET_ID_ANY, kSpSc | RING_F_EXACT_SZ));
    box.moves.reset(rte_ring_create_elem(fmt::format("moves_{}", w).c_str(), sizeof(Move),
                                         kMoveSlots, SOCKET_ID_ANY, kSpSc | RING_F_EXACT_SZ));
    box.audit = std::make_unique<AuditRing>(kAuditSlots);
    ok = ok && box.events != nullptr && box.moves != nullptr;
    out->boxes_.push_back(std::move(box));
  }
  if (!ok) {
    return fail(ErrorCode::kResource, fmt::format("cannot create the rings between threads: {}",
                                                  rte_strerror(rte_errno)));
  }
  return out;
}

Mailboxes::~Mailboxes() {
  for (Mailbox& box : boxes_) {
    for (rte_ring* r : {box.rekeys.get(), box.frames.get(), box.hellos.get(),
                        box.from_control.get(), box.handover.get()}) {
      void* m = nullptr;
      while (r != nullptr && rte_ring_dequeue(r, &m) == 0) {
        drop_buffer(static_cast<rte_mbuf*>(m));
      }
    }
  }
}

std::optional<Event> Mailboxes::take_event() {
  for (Mailbox& box : boxes_) {
    Event e{};
    if (rte_ring_sc_dequeue_elem(box.events.get(), &e, sizeof e) == 0) return e;
  }
  return std::nullopt;
}

Parcel Mailboxes::take(RingHandle Mailbox::*ring) {
  // Round robin, so that a flood on one worker's queue does not hide the others.
  for (size_t i = 0; i < boxes_.size(); ++i) {
    next_ = (next_ + 1) % workers();
    void* m = nullptr;
    if (rte_ring_sc_dequeue((boxes_[next_].*ring).get(), &m) == 0) {
      taken_over(m);
      return Parcel(static_cast<rte_mbuf*>(m));
    }
  }
  return {};
}

bool Mailboxes::give(unsigned worker, Parcel parcel) {
  rte_mbuf* m = parcel.release();
  given_away(m);
  if (rte_ring_sp_enqueue(boxes_[worker].from_control.get(), m) == 0) return true;
  drop_buffer(m);
  return false;
}

bool Mailboxes::reply(Parcel parcel) {
  const unsigned worker = parcel.meta().worker;
  parcel.meta().kind = ParcelKind::kReply;
  return give(worker, std::move(parcel));
}

bool Mailboxes::ask_to_move(unsigned owner, Move move) {
  return rte_ring_sp_enqueue_elem(boxes_[owner].moves.get(), &move, sizeof move) == 0;
}

bool Mailboxes::send_frame(unsigned worker, uint32_t session, uint32_t generation, Bytes frame,
                           ParcelKind kind) {
  rte_mbuf* m = take_buffer(pool_);
  if (m == nullptr) return false;
  Parcel parcel(m);
  PacketMeta& meta = parcel.meta();
  meta = PacketMeta{};
  meta.kind = kind;
  meta.session = session;
  meta.generation = generation;
  meta.payload_offset = kFramePayloadAt;
  parcel.set_payload(frame);
  return give(worker, std::move(parcel));
}

}  // namespace sluice::fabric
