// One HELLO and what may answer it (wire.md §4): Noise IKpsk2's initiator with a pre-shared key of
// 32 zero bytes. Lives until its WELCOME arrived or the tunnel makes a fresh one. No I/O, no clock.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "crypto/cookie.h"
#include "crypto/identity.h"
#include "crypto/noise.h"
#include "wire/tunnel.h"

namespace sluice::agent {

// Who we are and whom we greet. Everything referred to outlives the handshake.
struct HandshakeParty {
  const crypto::Identity* identity = nullptr;
  const crypto::X25519KeyPair* tunnel_key = nullptr;
  ByteArray<32> relay_key{};
  Bytes token;
};

struct SessionKeys {
  crypto::Key256 send;
  crypto::Key256 receive;
  ByteArray<4> send_salt{};
  ByteArray<4> receive_salt{};
};

struct Welcome {
  wire::WelcomePayload payload{};
  std::optional<SessionKeys> keys;  // none: no session, the relay refused our time
};

class Handshake {
 public:
  // `index` is ours and not 0; `relay_index` that of the session to be replaced, or 0.
  Handshake(const HandshakeParty& party, uint32_t index, uint32_t relay_index, uint64_t time_ms);

  // False: the relay's key is a degenerate point; no HELLO exists.
  bool ok() const { return noise_.has_value(); }
  uint32_t index() const { return index_; }

  // The same bytes every time, but for mac2, which a cookie fills.
  Bytes hello() const { return packet_; }
  void use_cookie(const crypto::Cookie& cookie);

  std::optional<crypto::Cookie> read_retry(Bytes packet) const;
  // A packet that is not the answer to this HELLO changes nothing: the true one may still come.
  std::optional<Welcome> read_welcome(Bytes packet);

 private:
  void write_hello();
  std::optional<wire::WelcomePayload> open_welcome(const wire::WelcomeView& view);

  HandshakeParty party_;
  uint32_t index_;
  uint64_t time_ms_;
  crypto::X25519KeyPair ephemeral_;
  Buffer packet_;
  std::optional<crypto::NoiseHandshake> noise_;
};

}  // namespace sluice::agent
