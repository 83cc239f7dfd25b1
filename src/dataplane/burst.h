// A burst in flight through the stages: one slot per packet, on the worker's own memory, reused
// every round. Stages read top to bottom; a slot that has a `dead` reason is skipped by all.
#pragma once

#include <cstdint>

#include "fabric/drop_reason.h"
#include "fabric/mailbox.h"
#include "fabric/records.h"
#include "fabric/topology.h"
#include "wire/frame.h"
#include "wire/tunnel.h"

struct rte_mbuf;

namespace sluice::dataplane {

// Where a living packet goes next.
enum class Next : uint8_t {
  kOpen,      // DATA, to be opened
  kCommit,    // opened: here, or by the worker that handed it over
  kFrame,     // committed; what is inside is still to be looked at
  kForward,   // to be sealed for `out`
  kTransmit,  // complete Ethernet frame for `out_port`
  kPunt,      // to control
  kHandover,  // to the agent's owner
};

struct Slot {
  rte_mbuf* mbuf = nullptr;
  uint8_t* outer = nullptr;  // the UDP payload: the tunnel's outer header
  uint16_t size = 0;         // of the UDP payload
  fabric::DropReason dead = fabric::DropReason::kNone;
  Next next = Next::kOpen;
  uint8_t tos = 0;
  uint8_t lane = 0;
  uint8_t out_port = 0;
  bool from_endpoint = false;
  bool new_mac = false;      // from the endpoint's address, by another Ethernet neighbour
  bool challenge = false;    // its source has to prove itself before the endpoint moves
  bool agents_data = false;  // counts as forwarded when the NIC took it
  fabric::ParcelKind punt = fabric::ParcelKind::kHello;
  uint32_t session_index = 0;
  uint32_t out_index = 0;
  uint64_t sequence = 0;
  fabric::Session* session = nullptr;
  fabric::Session* out = nullptr;
  fabric::Edge* edge = nullptr;
  wire::PathHeader path{};  // back to where it came from
  wire::PathHeader out_path{};

  bool alive() const noexcept { return dead == fabric::DropReason::kNone; }
  bool at(Next n) const noexcept { return alive() && next == n; }
  void die(fabric::DropReason r) noexcept { dead = r; }
};

struct Burst {
  Slot slots[fabric::kMaxBurst];
  unsigned count = 0;

  Slot* begin() noexcept { return slots; }
  Slot* end() noexcept { return slots + count; }
  Slot& add(rte_mbuf* m) noexcept {
    Slot& s = slots[count++];
    s = Slot{};
    s.mbuf = m;
    return s;
  }
};

}  // namespace sluice::dataplane
