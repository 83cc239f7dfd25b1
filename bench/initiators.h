// The agents' side of many handshakes at once (docs/protocol.md §4), with the batched X25519 of the
// relay: a real agent greets once in two minutes, a generator for all of them. No I/O, no clock.
#pragma once

#include <optional>
#include <span>

#include "crypto/cookie.h"
#include "crypto/identity.h"
#include "crypto/noise.h"
#include "crypto/x25519_batch.h"
#include "wire/tunnel.h"

namespace sluice::bench {

// One agent's greeting. Stays where it is from greet() on: Noise keeps addresses between steps.
struct Initiator {
  crypto::Identity identity = crypto::Identity::generate();
  crypto::X25519KeyPair tunnel;
  Buffer hello;                                 // the whole UDP payload; mac2 is zero
  std::optional<crypto::NoiseHandshake> noise;  // waits for the WELCOME

  void use_cookie(const crypto::Cookie& cookie);  // fills mac2
  // Of a RETRY for this HELLO; none: it is not for it, or not the relay's.
  std::optional<crypto::Cookie> read_retry(const ByteArray<32>& relay_key, Bytes packet) const;
};

// A WELCOME on its way through read_welcomes.
struct WelcomeJob {
  Initiator* of = nullptr;
  Bytes packet;
  // Written; without keys the WELCOME was not the answer, or told only the time.
  wire::WelcomePayload payload{};
  std::optional<crypto::NoiseKeys> keys;
};

class Initiators {
 public:
  static constexpr size_t kAtOnce = 64;

  explicit Initiators(const ByteArray<32>& relay_key) : relay_key_(relay_key) {}

  const ByteArray<32>& relay_key() const { return relay_key_; }

  // Fresh tunnel and ephemeral keys, and the HELLO, of at most kAtOnce. `index` names the first
  // one's session, the others count on.
  void greet(std::span<Initiator* const> agents, uint32_t index, uint64_t time_ms) const;
  // At most kAtOnce. A handshake that fails here is over; its agent greets again.
  void read_welcomes(std::span<WelcomeJob> jobs) const;

 private:
  ByteArray<32> relay_key_;
};

}  // namespace sluice::bench
