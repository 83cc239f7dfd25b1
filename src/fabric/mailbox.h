// Bounded rings between workers and the control thread, and between workers. Each ring has one
// consumer; nothing blocks: a full ring is the sender's drop reason. Packets travel as mbufs with a
// `PacketMeta` in the mbuf's private area; control sees them as `Parcel`s without DPDK's types.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/error.h"
#include "base/spsc_ring.h"
#include "fabric/records.h"

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

namespace sluice::fabric {

enum class ParcelKind : uint8_t {
  kHello,     // worker to control: a whole UDP payload that passed length and mac1
  kRekey,     // the same, from a running session's own endpoint
  kFrame,     // worker to control: an authentic CONTROL frame; control to worker: a frame to seal
  kReply,     // control to worker: a UDP payload for meta.path
  kApproved,  // control to worker: the CALL_OPEN of a parked call, which was approved
  kRefused,   // or was not
  kData,      // worker to worker: an authentic DATA packet, not yet committed
};

struct alignas(64) PacketMeta {
  uint64_t sequence = 0;
  uint32_t session = 0;
  uint32_t generation = 0;
  uint16_t payload_offset = 0;  // UDP payload, from the start of the mbuf's data
  uint16_t payload_size = 0;
  ParcelKind kind = ParcelKind::kHello;
  uint8_t lane = 0;
  uint8_t worker = 0;  // the one that received it
  uint8_t tos = 0;
  uint8_t port = 0;            // NIC port it came in on
  bool v6 = false;             // its outer IP
  bool from_endpoint = false;  // it came from the session's own endpoint
  bool new_mac = false;        // but by another Ethernet neighbour
  bool header_seal = false;
  bool passed_on = false;          // by a worker that owned the agent no more
  bool payload_sum_known = false;  // payload_sum holds
  uint8_t reserved0 = 0;
  uint16_t payload_sum = 0;  // the payload's part of UDP's checksum, complemented and folded
  uint8_t reserved[6] = {};
  uint64_t received = 0;  // ticks: when it was taken from the NIC; of what waits between bursts
  uint8_t reserved1[16] = {};
  // Line 1: back to where the packet came from. Not filled between workers, who have the frame.
  wire::PathHeader path;
};
static_assert(sizeof(PacketMeta) == 128);

PacketMeta& meta_of(rte_mbuf* m) noexcept;

// Owns one packet on the control thread; returns it to its pool when dropped.
class Parcel {
 public:
  Parcel() = default;
  explicit Parcel(rte_mbuf* m) : mbuf_(m) {}
  Parcel(Parcel&& o) noexcept : mbuf_(std::exchange(o.mbuf_, nullptr)) {}
  Parcel& operator=(Parcel&& o) noexcept {
    std::swap(mbuf_, o.mbuf_);
    return *this;
  }
  ~Parcel();
  explicit operator bool() const { return mbuf_ != nullptr; }
  PacketMeta& meta() { return meta_of(mbuf_); }
  MutBytes payload();
  // Replaces the payload in place; never longer than the mbuf's room.
  void set_payload(Bytes bytes);
  rte_mbuf* release() { return std::exchange(mbuf_, nullptr); }

 private:
  rte_mbuf* mbuf_ = nullptr;
};

// Packets that one worker's rings hold when all are full.
inline constexpr unsigned kRekeySlots = 512;
inline constexpr unsigned kFrameSlots = 1024;
inline constexpr unsigned kHelloSlots = 512;
inline constexpr unsigned kFromControlSlots = 1024;
inline constexpr unsigned kHandoverSlots = 1024;
inline constexpr unsigned kWaitingCalls = 256;  // frames that a worker lets wait for signatures
inline constexpr unsigned kMailboxSlots =
    kRekeySlots + kFrameSlots + kHelloSlots + kFromControlSlots + kHandoverSlots + kWaitingCalls;

// What a worker tells control without a packet.
struct Event {
  enum class Kind : uint32_t {
    kConfirmed = 1,  // subject: session, detail: its generation
    kWantsMove = 2,  // subject: agent, detail: the worker through which its packets arrive
    kParked = 3,     // subject: agent, detail: which of its calls waits for an approval
    kCircuit = 4,    // subject: edge, detail: the CircuitState that it went into
  } kind;
  uint32_t subject;
  uint32_t detail;
  uint32_t worker;  // that tells it
};
static_assert(sizeof(Event) == 16);

// Control asks the owner of an agent to give it to another worker.
struct Move {
  uint32_t agent;
  uint32_t to;
};
static_assert(sizeof(Move) == 8);

struct RingDeleter {
  void operator()(rte_ring* r) const;
};
using RingHandle = std::unique_ptr<rte_ring, RingDeleter>;

using AuditRing = SpscRing<ByteArray<128>>;
inline constexpr size_t kAuditSlots = 16384;

// One worker's rings.
struct Mailbox {
  RingHandle rekeys;  // to control, served first
  RingHandle frames;  // to control, authentic
  RingHandle hellos;  // to control, unauthenticated
  RingHandle events;  // to control, 16-byte elements
  RingHandle from_control;
  RingHandle moves;     // from control, 8-byte elements
  RingHandle handover;  // from other workers; many producers
  // To the audit log's thread: its records, as src/audit/record.h lays them out.
  std::unique_ptr<AuditRing> audit;
};

class Mailboxes {
 public:
  // After EAL. `pool` must outlive this; its mbufs have sizeof(PacketMeta) private bytes.
  static Result<std::unique_ptr<Mailboxes>> create(unsigned workers, rte_mempool* pool);
  ~Mailboxes();

  unsigned workers() const { return static_cast<unsigned>(boxes_.size()); }
  Mailbox& of(unsigned worker) { return boxes_[worker]; }

  // Control side; the control thread alone.
  std::optional<Event> take_event();
  Parcel take_rekey() { return take(&Mailbox::rekeys); }
  Parcel take_frame() { return take(&Mailbox::frames); }
  Parcel take_hello() { return take(&Mailbox::hellos); }
  // Sends the parcel's payload back along its path, by the worker that received it.
  bool reply(Parcel parcel);
  // A frame (header and all that follows) that `worker` seals for the session's endpoint.
  // Of the kinds kFrame, kApproved and kRefused.
  bool send_frame(unsigned worker, uint32_t session, uint32_t generation, Bytes frame,
                  ParcelKind kind = ParcelKind::kFrame);
  // Asks `owner` to give the agent to `move.to`; it may own it no more, then nothing happens.
  bool ask_to_move(unsigned owner, Move move);

 private:
  Mailboxes() = default;
  Parcel take(RingHandle Mailbox::*ring);
  bool give(unsigned worker, Parcel parcel);

  std::vector<Mailbox> boxes_;
  rte_mempool* pool_ = nullptr;
  unsigned next_ = 0;  // round robin over workers
};

}  // namespace sluice::fabric
