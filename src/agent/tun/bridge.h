// Between the TUN device and the peers, without I/O: what the kernel sends goes, in DATAGRAMs, to
// the peer whose address it is for; what peers send goes to the kernel if it is from their own
// address and for ours. Nothing else passes, so a peer can neither speak for another nor reach
// what lies behind this host. The kernel is told by ICMPv6 why something cannot go. One thread.
#pragma once

#include <unordered_map>

#include "agent/agent.h"
#include "agent/tun/coalesce.h"
#include "agent/tun/net.h"
#include "agent/tun/segment.h"

namespace sluice::agent {

struct TunCounters {
  uint64_t sent = 0, received = 0;  // packets, as they travel
  uint64_t sent_bytes = 0, received_bytes = 0;
  uint64_t dropped_malformed = 0;  // not an IPv6 packet that is as long as it says
  uint64_t dropped_source = 0;     // of a peer: not from its address; of the host: not ours
  uint64_t dropped_target = 0;     // for nobody we know; of a peer: not for us
  uint64_t dropped_refused = 0;    // the edge takes no packets
  uint64_t dropped_too_big = 0;
  uint64_t dropped_full = 0;    // the peer's keys are not there yet, and many wait
  uint64_t dropped_device = 0;  // the kernel did not take it
};

class TunBridge {
 public:
  // `write`: to the device; false: it was not taken.
  TunBridge(Agent& agent, const ByteArray<32>& relay_id,
            std::function<bool(const VnetHeader&, Bytes)> write);

  // Ours since the relay last said so; none before.
  void set_own(VirtualAddress own) { own_ = net_.address(own); }
  const std::optional<Ip6>& own() const { return own_; }
  const TunNet& net() const { return net_; }

  // What was read from the device; it is changed.
  void from_host(const VnetHeader& header, MutBytes packet, Now now);
  void from_peer(const PeerEdge& from, Bytes packet);
  // To be called after each batch of datagrams.
  void flush() { coalescer_.flush(); }

  const TunCounters& counters() const { return counters_; }

 private:
  const PeerEdge* find(VirtualAddress address);
  void tell(Buffer error);

  Agent& agent_;
  TunNet net_;
  std::function<bool(const VnetHeader&, Bytes)> write_;
  std::optional<Ip6> own_;
  Segmenter segmenter_;
  Coalescer coalescer_;
  TunCounters counters_;
  std::unordered_map<uint64_t, crypto::PublicKey> known_;  // who had an address; looked at anew
};

}  // namespace sluice::agent
