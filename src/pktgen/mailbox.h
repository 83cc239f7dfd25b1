// Between the main thread and one traffic worker: bounded rings of packet buffers, whose private
// area says what they are. Main has no queue of the port and no session key; the worker does no
// public-key work and reads no protobuf. A full ring loses the message, as a wire would.
#pragma once

#include <functional>
#include <memory>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/frame.h"

struct rte_mbuf;
struct rte_mempool;
struct rte_ring;

namespace sluice::pktgen {

inline constexpr unsigned kMailboxSlots = 2048;

enum class NoteKind : uint8_t {
  kRaw,       // to the worker: a whole Ethernet frame to send
  kSeal,      // to the worker: a frame to seal in this agent's session and to send
  kKeys,      // to the worker: a KeyMessage
  kLabel,     // to the worker: the label of the agent's edge to its peer
  kGreeting,  // to main: WELCOME, RETRY or VERSION, a UDP payload
  kControl,   // to main: the protobuf of an authentic CONTROL frame
};

struct Note {
  NoteKind kind = NoteKind::kRaw;
  uint8_t reserved[3] = {};
  uint32_t local = 0;    // the agent's number at its worker
  uint64_t request = 0;  // CONTROL's request id; kLabel: the label
};
static_assert(sizeof(Note) == 16);

Note& note_of(rte_mbuf* m) noexcept;

// A new session of one agent. Wiped by the worker when it has taken it over.
struct KeyMessage {
  uint32_t relay_index = 0;
  uint8_t generation = 0;  // the low four bits of our receiver index
  ByteArray<32> send{};
  ByteArray<32> receive{};
  ByteArray<4> send_salt{};
  ByteArray<4> receive_salt{};
};

class Mailbox {
 public:
  static Result<std::unique_ptr<Mailbox>> create(unsigned worker, rte_mempool* pool);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Main's side. False: no buffer or no room.
  bool send_raw(uint32_t local, Bytes frame);
  bool send_keys(uint32_t local, const KeyMessage& keys);
  bool send_label(uint32_t local, uint32_t label);
  bool send_frame(uint32_t local, const wire::FrameHeader& frame, Bytes extension);
  // Calls `take` for up to a burst of what the worker sent; true if there was something.
  bool receive(const std::function<void(const Note&, Bytes)>& take);

  // The worker's side.
  unsigned take(rte_mbuf** out, unsigned most) noexcept;
  void deliver(rte_mbuf* m) noexcept;

 private:
  Mailbox() = default;
  bool post(const Note& note, Bytes first, Bytes second);

  rte_mempool* pool_ = nullptr;
  rte_ring* to_worker_ = nullptr;
  rte_ring* to_main_ = nullptr;
};

}  // namespace sluice::pktgen
