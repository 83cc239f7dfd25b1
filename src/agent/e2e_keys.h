// The transport keys of one end-to-end session with a peer (wire.md §6): both directions, the send
// counter, the replay window. Owned by its PeerSession, one thread.
#pragma once

#include <memory>
#include <optional>

#include "agent/carrier.h"
#include "agent/session.h"
#include "crypto/noise.h"
#include "wire/end_to_end.h"

namespace sluice::agent {

class E2eKeys {
 public:
  // `own_id` is in what we receive, `peer_id` in what we send.
  E2eKeys(crypto::NoiseKeys keys, crypto::NoiseRole role, uint32_t own_id, uint32_t peer_id,
          uint64_t born_ms);
  ~E2eKeys();
  E2eKeys(const E2eKeys&) = delete;
  E2eKeys& operator=(const E2eKeys&) = delete;

  uint32_t own_id() const { return own_id_; }
  uint64_t born_ms() const { return born_ms_; }
  bool initiator() const { return role_ == crypto::NoiseRole::kInitiator; }
  bool heard() const { return received_ > 0; }

  bool expired(uint64_t now_ms) const { return now_ms >= born_ms_ + kKeyLifeMs; }
  bool may_send(uint64_t now_ms) const { return !expired(now_ms) && sent_ < kMaxPackets; }
  bool over_rekey_packets() const { return sent_ >= kRekeyPackets || received_ >= kRekeyPackets; }

  // A transport message for that frame and no other. Only while may_send().
  void seal(const Carrier& carrier, uint8_t kind, Bytes body, Buffer& out);
  // Opens in place what `carrier` brought; `plaintext` is what was inside.
  OpenVerdict open(const Carrier& carrier, MutBytes message, MutBytes& plaintext);

  void skip_packets(uint64_t n) { sent_ += n; }  // for tests of the limits

 private:
  struct Keys {
    crypto::GcmKey send;
    crypto::GcmKey receive;
  };
  std::unique_ptr<Keys> keys_;
  fabric::ReplayWindow window_;
  crypto::NoiseRole role_;
  uint32_t own_id_;
  uint32_t peer_id_;
  uint64_t born_ms_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

}  // namespace sluice::agent
