// The pipeline's stages, in the order in which a packet meets them (docs/architecture.md). Each is
// a pass over the burst, noexcept, without lock, allocation, system call or log.
#pragma once

#include "dataplane/burst.h"
#include "dataplane/context.h"

namespace sluice::dataplane {

// What waits in one RX queue. Returns how many.
unsigned receive(Context& c, Burst& b, fabric::QueueRef q) noexcept;
// Ethernet to the tunnel's outer header; answers ARP, NDP and echo; HELLO's length, version, mac1.
// Asks memory for the sessions that the packets name.
void parse(Context& c, Burst& b, uint8_t port) noexcept;
// The session: expiry, lane, replay window (read only), source against the endpoint.
void lookup(Context& c, Burst& b) noexcept;
// On a saturated worker: what is to be opened waits for its tenant's turn (fair_share.h).
void wait_for_turn(Context& c, Burst& b) noexcept;
// AEAD over the burst.
void open(Context& c, Burst& b) noexcept;
// Packets of an agent that another worker owns leave for it. Of the others: replay window
// test-and-set, counters, confirmation, roaming. True if a source has to be challenged.
bool commit(Context& c, Burst& b) noexcept;
// A KEEPALIVE challenge, in a buffer of the worker's pool, to each path that has to prove itself.
// `out` is a burst of its own, to be sealed and delivered.
void challenge(Context& c, const Burst& b, Burst& out) noexcept;
// Frame header: keepalives, CONTROL, and the authorisation of everything that goes to a peer.
void authorize(Context& c, Burst& b) noexcept;
// Label and outer header for the receiver, AEAD over the burst, IP and UDP headers.
void seal(Context& c, Burst& b) noexcept;
// NIC, control's rings, other workers' rings; then the one place where packets die.
void deliver(Context& c, Burst& b) noexcept;

// Frames and replies of the control thread, and packets from other workers, as bursts.
unsigned take_from_control(Context& c, Burst& b) noexcept;
unsigned take_handover(Context& c, Burst& b) noexcept;
// Agents that control wants elsewhere are given away, between two bursts.
void take_moves(Context& c) noexcept;

// What a challenge carries: keyed by session, path and time slot (wire.md §3, Roaming).
uint64_t challenge_value(const Context& c, uint32_t session, const wire::PathHeader& path,
                         unsigned slots_ago) noexcept;

// Something for control, without a packet. False: the ring is full.
bool tell(Context& c, fabric::Event::Kind kind, uint32_t subject, uint32_t detail) noexcept;

// ARP, NDP and echo: turns the frame in `s` into its answer, or gives it its reason.
void respond(Context& c, Slot& s, uint8_t port, const wire::IpView& ip, wire::IpVerdict v) noexcept;
bool is_ours(const PortView& port, const uint8_t* ip, bool v6) noexcept;

}  // namespace sluice::dataplane
