// Agents that call each other (docs/protocol.md §7): envelopes and acceptances signed with the
// identities that control knows, their frames sealed in the sessions of an InMemoryRelay. One
// thread at a time.
#pragma once

#include <vector>

#include "bench/in_memory.h"
#include "wire/call.h"

struct rte_mbuf;

namespace sluice::bench {

// Between agent `caller` and its peer.
struct SignedCall {
  uint32_t caller = 0;
  wire::Envelope envelope{};
  wire::CallAccept accept{};
};

// From the Ethernet header on.
struct SealedFrame {
  static constexpr size_t kMost = 320;
  uint16_t size = 0;
  uint8_t bytes[kMost];
};

class Callers {
 public:
  static std::vector<crypto::Identity> identities(uint32_t n);
  static std::vector<crypto::PublicKey> public_keys(const std::vector<crypto::Identity>& from);

  // `identities` are those of the relay's agents, which all have sessions.
  Callers(InMemoryRelay& relay, const std::vector<crypto::Identity>& identities);

  // As control does after a handshake. False: no lanes on this machine, or no room.
  bool prepare_keys();

  // With a message id and key of its own, good for the next 55 seconds; `accepted`: its callee's
  // acceptance as well.
  SignedCall sign(uint32_t caller, bool accepted = true);

  // Each takes the next number of its sender's session: they are to arrive about in the order in
  // which they were made.
  void open(const SignedCall& call, SealedFrame& out);
  void accept(const SignedCall& call, SealedFrame& out);
  void close(const SignedCall& call, bool by_callee, SealedFrame& out);
  // CALL_DATA of the caller, and a DATAGRAM outside any call.
  void data(const SignedCall& call, size_t payload, SealedFrame& out);
  void datagram(uint32_t from, size_t payload, SealedFrame& out);

  // In a buffer of the relay's pool; null: there is none.
  rte_mbuf* buffer_with(const SealedFrame& frame);

 private:
  void seal(uint32_t from, const wire::FrameHeader& frame, Bytes extension, size_t payload,
            SealedFrame& out);

  InMemoryRelay& relay_;
  const std::vector<crypto::Identity>& identities_;
  std::vector<uint64_t> next_call_;
  uint64_t next_key_ = 1;
};

}  // namespace sluice::bench
