// Every way a packet can end on a worker without leaving it, in one list: metrics, command line,
// documentation and tests are made from it. A packet has exactly one reason; `kNone` means alive.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::fabric {

enum class Severity : uint8_t {
  kNormal,    // consumed, as intended
  kNoise,     // not ours or not understood; expected on a shared link
  kConfig,    // somebody's set-up is wrong; the sentence names the cure
  kAttack,    // no honest peer sends this
  kState,     // honest, but too late or too early
  kOverload,  // more than was provided for
};

// X(enumerator, name, severity, sentence)
#define SLUICE_DROP_REASONS(X)                                                                     \
  X(kRunt, "runt", kNoise, "the frame ends inside a header")                                       \
  X(kNotIp, "not_ip", kNoise, "an EtherType that the relay does not speak")                        \
  X(kIpMalformed, "ip_malformed", kNoise,                                                          \
    "IP or UDP header with a wrong version, length or checksum")                                   \
  X(kFragment, "fragment", kConfig,                                                                \
    "an IP fragment: lower the agent's MTU, fragments are never reassembled")                      \
  X(kIpExtension, "ip_extension", kNoise, "IPv4 options or IPv6 extension headers")                \
  X(kGsoFrame, "gso_frame", kConfig,                                                               \
    "longer than the link's MTU: turn segmentation offload off at the sender (ethtool -K DEV gso " \
    "off tso off tx-udp-segmentation off)")                                                        \
  X(kNotForUs, "not_for_us", kNoise, "addressed to another MAC, IP address or UDP port")           \
  X(kNotUdp, "not_udp", kNoise, "an IP protocol that the relay does not answer")                   \
  X(kArpIgnored, "arp_ignored", kNormal, "ARP that is not a request for one of our addresses")     \
  X(kNdpIgnored, "ndp_ignored", kNormal,                                                           \
    "ICMPv6 that is not a solicitation for one of our addresses, or an echo request")              \
  X(kIcmpIgnored, "icmp_ignored", kNormal, "ICMP that is not an echo request to us")               \
  X(kResponderBudget, "responder_budget", kOverload,                                               \
    "ARP, neighbour discovery, echo or VERSION beyond the responder's rate")                       \
  X(kShort, "short", kNoise, "a UDP payload shorter than the tunnel's header")                     \
  X(kBadVersion, "bad_version", kNoise,                                                            \
    "a tunnel version that is not spoken here, and no HELLO to answer")                            \
  X(kBadType, "bad_type", kNoise, "an unknown tunnel packet type")                                 \
  X(kUnexpectedType, "unexpected_type", kAttack, "WELCOME, RETRY or VERSION sent to a relay")      \
  X(kMalformed, "malformed", kAttack, "lengths or zero fields of a tunnel packet are wrong")       \
  X(kBadMac1, "bad_mac1", kAttack, "HELLO without knowledge of the relay's key")                   \
  X(kHelloBudget, "hello_budget", kOverload, "more HELLOs in one burst than a worker checks")      \
  X(kTenantShare, "tenant_share", kOverload,                                                       \
    "the worker is saturated, and packets of that tenant already have all the room they may have") \
  X(kPuntFull, "punt_full", kOverload, "the ring to the control thread is full")                   \
  X(kUnknownReceiver, "unknown_receiver", kAttack, "no session has this receiver index")           \
  X(kSessionExpired, "session_expired", kState,                                                    \
    "the session is older than its life: the agent must handshake")                                \
  X(kBadLane, "bad_lane", kAttack, "a nonce lane beyond those that the agent was given")           \
  X(kReplay, "replay", kAttack, "sequence already accepted: duplicate or replay")                  \
  X(kTooOld, "too_old", kAttack, "sequence below the window")                                      \
  X(kRoamBudget, "roam_budget", kAttack,                                                           \
    "too many packets from a source that is not the session's")                                    \
  X(kSealNotAllowed, "seal_not_allowed", kConfig,                                                  \
    "a seal that the edge does not allow: see seal in trust.pairs")                                \
  X(kBadTag, "bad_tag", kAttack, "the authentication tag does not hold: forged or corrupted")      \
  X(kFrameMalformed, "frame_malformed", kAttack, "an authentic packet with a malformed frame")     \
  X(kFrameUnknown, "frame_unknown", kNoise, "an authentic packet with an unknown frame type")      \
  X(kFrameNotAllowed, "frame_not_allowed", kAttack, "CALL_DENY or CREDENTIAL from an agent")       \
  X(kKeepalive, "keepalive", kNormal, "KEEPALIVE that needs no answer")                            \
  X(kPingRate, "ping_rate", kNormal, "a ping within a second of the last one answered")            \
  X(kControlRate, "control_rate", kOverload,                                                       \
    "more CONTROL frames of one session than the control thread takes")                            \
  X(kRevoked, "revoked", kState, "the agent, its peer or their edge is revoked")                   \
  X(kControlStale, "control_stale", kState,                                                        \
    "the control thread has not run for control.max_staleness_s: see why it stands still")         \
  X(kNoEdge, "no_edge", kAttack, "a label that this agent does not own")                           \
  X(kRight, "right", kConfig,                                                                      \
    "the edge gives no right to send messages outside of calls: set it to may_send")               \
  X(kOutsideWindow, "outside_window", kState,                                                      \
    "the edge's window is closed at this time (windows in the policy or in trust.pairs)")          \
  X(kEdgeRate, "edge_rate", kOverload, "beyond the rate of its edge (trust.pairs)")                \
  X(kAgentRate, "agent_rate", kOverload, "beyond the rate of its sender (trust.agents)")           \
  X(kTenantRate, "tenant_rate", kOverload, "beyond the rate of its tenant (trust.tenants)")        \
  X(kNoCall, "no_call", kState, "a call frame without an open call")                               \
  X(kCallDenied, "call_denied", kState,                                                            \
    "a CALL_OPEN that was denied, without an answer: its reason is in the counters of calls")      \
  X(kCallRepeated, "call_repeated", kNormal,                                                       \
    "a CALL_OPEN or CALL_ACCEPT again, while the first is decided or once too often")              \
  X(kAcceptBad, "accept_bad", kAttack, "a CALL_ACCEPT whose signature or form does not hold")      \
  X(kCallQueueFull, "call_queue_full", kOverload,                                                  \
    "more frames wait for signatures than the worker, their agent or their call may have wait")    \
  X(kCallWait, "call_wait", kState, "CALL_DATA that waited too long for its call's signature")     \
  X(kCredentialRoom, "credential_room", kState,                                                    \
    "a CALL_OPEN without room for its target's credential, or one that was taken away "            \
    "meanwhile: its caller says it again")                                                         \
  X(kPeerOffline, "peer_offline", kState, "the peer has no session now")                           \
  X(kNonceExhausted, "nonce_exhausted", kState,                                                    \
    "2^34 packets sealed with this key: the peer must handshake")                                  \
  X(kMtu, "mtu", kConfig, "longer than the departing link's MTU: lower the agent's MTU")           \
  X(kHandoverFull, "handover_full", kOverload, "the ring to the agent's owner worker is full")     \
  X(kOwnerMoved, "owner_moved", kState,                                                            \
    "the agent moved between workers twice while the packet waited")                               \
  X(kStaleFrame, "stale_frame", kState, "a frame of the control thread whose session has ended")   \
  X(kTxFull, "tx_full", kOverload, "the NIC's transmit queue is full")

enum class DropReason : uint8_t {
  kNone = 0,
#define X(id, name, severity, text) id,
  SLUICE_DROP_REASONS(X)
#undef X
      kCount
};

inline constexpr size_t kDropReasons = static_cast<size_t>(DropReason::kCount);

struct DropInfo {
  const char* name;
  Severity severity;
  const char* text;
};

inline constexpr DropInfo kDropTable[kDropReasons] = {{"none", Severity::kNormal, "alive"},
#define X(id, name, severity, text) {name, Severity::severity, text},
                                                      SLUICE_DROP_REASONS(X)
#undef X
};

constexpr const char* name(DropReason r) {
  return kDropTable[static_cast<size_t>(r)].name;
}
constexpr const char* name(Severity s) {
  constexpr const char* names[] = {"normal", "noise", "config", "attack", "state", "overload"};
  return names[static_cast<size_t>(s)];
}

}  // namespace sluice::fabric
