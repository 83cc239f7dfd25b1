// One packet of a burst on its way through the stages. A slot that has a `dead` reason is skipped
// by all of them.
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
  kOpen,       // DATA, not yet looked up
  kCommit,     // opened once the AEAD has not refused it: here, or by who handed it over
  kFrame,      // committed; what is inside is still to be looked at
  kForward,    // to be sealed for `out`
  kTransmit,   // complete Ethernet frame for `port`
  kPuntHello,  // to control, in one of three rings
  kPuntRekey,
  kPuntFrame,
  kHandover,    // to the agent's owner
  kCredential,  // room kept for a part of the credential of the CALL_OPEN behind it
  kWait,        // set aside: for the signature that it depends on (calls.h), or its tenant's turn
};

// Of the signature of a call frame.
enum class Verdict : uint8_t { kNone, kBad, kGood };

// Of a call that was parked: what control says of it.
enum class Approval : uint8_t { kNone, kApproved, kRefused };

// One cache line: a burst of 64 leaves most of the first-level cache to what it looks up.
struct alignas(64) Slot {
  rte_mbuf* mbuf = nullptr;
  uint8_t* outer = nullptr;  // the UDP payload: the tunnel's outer header
  fabric::Session* session = nullptr;
  union {
    fabric::ReplayWindow* window = nullptr;  // of its lane, from `parse` to `commit`
    fabric::Session* out;                    // to be sealed for, from `authorize` on
  };
  struct Credential {
    uint32_t slot;    // whose parts there is room for
    uint32_t frames;  // just before this one in the burst
  };
  union {
    uint64_t sequence = 0;  // until `commit`
    Credential credential;  // of a CALL_OPEN that has waited, from then on (credentials.h)
  };
  uint32_t session_index = 0;
  uint32_t out_index = 0;  // of `out`; before that, the receiving agent
  uint32_t edge = 0;       // 0: over none (slot 0 is never given out); else it counts as forwarded
  uint16_t size = 0;       // of the UDP payload
  fabric::DropReason dead = fabric::DropReason::kNone;
  Next next = Next::kOpen;
  uint8_t lane = 0;
  uint8_t tos = 0;
  uint8_t received_by = 0;  // worker whose queue it came from
  uint8_t port = 0;         // it came in on; from kTransmit on, where it leaves
  // What every packet sets has a byte of its own: a bit would be read to be written.
  bool v6 = false;
  bool from_endpoint = false;
  bool header_seal = false;
  bool new_mac : 1 = false;    // from the endpoint's address, by another Ethernet neighbour
  bool challenge : 1 = false;  // its source has to prove itself before the endpoint moves
  bool passed_on : 1 = false;  // a former owner's ring sent it here
  Verdict verdict : 2 = Verdict::kNone;
  Approval approval : 2 = Approval::kNone;
  bool to_meta_path : 1 = false;  // leaves along its PacketMeta's path, not to the endpoint

  bool alive() const noexcept { return dead == fabric::DropReason::kNone; }
  bool at(Next n) const noexcept {
    static_assert(size_t(fabric::DropReason::kNone) == 0 && sizeof(fabric::DropReason) == 1);
    return load_le<uint16_t>(&dead) == uint16_t(n) << 8;
  }
  void die(fabric::DropReason r) noexcept { dead = r; }

  // The frame that it came in, until `seal` rewrites the headers.
  const uint8_t* frame() const noexcept {
    return outer - (v6 ? wire::kEthSize + wire::kIp6Size + wire::kUdpSize
                       : wire::kEthSize + wire::kIp4Size + wire::kUdpSize);
  }
  // Back to where it came from.
  wire::PathHeader path() const noexcept { return wire::reply_path(frame(), v6, port); }
};
static_assert(sizeof(Slot) == 64);

}  // namespace sluice::dataplane
