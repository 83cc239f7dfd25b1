// CONTROL frames from the relay (wire.md §5): each is answered with an Ack of the same request id,
// and acts once however often it comes. No I/O, one thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "agent/edges.h"
#include "agent/pins.h"
#include "agent/report.h"

namespace sluice::pb {
class Control;
}

namespace sluice::agent {

struct Revocation {
  crypto::PublicKey identity{};
  uint64_t issued_ms = 0;
  uint64_t received_ms = 0;  // Unix
  std::string reason;
};

struct ControlHooks {
  std::function<void(uint64_t request, Bytes message)> send;  // a CONTROL frame's extension
  std::function<void(std::vector<PeerEdge>)> edges;           // replaces the whole set
  std::function<void(const Revocation&)> revoked;
  std::function<void(const RelayKeyPin&)> relay_key;  // greet with it from now on
  // Whatever is not the channel's own. True: it is to be acknowledged.
  std::function<bool(uint64_t request, const pb::Control&)> other;
  Report report;
};

class ControlChannel {
 public:
  ControlChannel(const ByteArray<32>& relay_id, Pins& pins, ControlHooks hooks);

  void receive(uint64_t request, Bytes message, uint64_t unix_ms);
  // A new relay epoch: the labels are gone and so is the order of syncs.
  void forget();

  bool synced() const { return synced_; }  // a set of edges has arrived in this epoch

 private:
  void on_edges(const pb::EdgeSync& sync);
  void on_operator_key(const std::string& key);
  bool on_relay_key(const pb::Signed& told);
  void on_revoked(const pb::Signed& notice, uint64_t unix_ms);

  ByteArray<32> relay_id_;
  Pins& pins_;
  ControlHooks hooks_;
  EdgeAssembler assembler_;
  bool synced_ = false;
  std::string refused_operator_key_;  // reported once
};

}  // namespace sluice::agent
