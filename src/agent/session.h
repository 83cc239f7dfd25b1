// One tunnel session with the relay: keys of both directions, the send counter of lane 0 and a
// replay window per receive lane (wire.md §3). Owned and used by the tunnel's thread.
#pragma once

#include <memory>
#include <optional>

#include "agent/handshake.h"
#include "crypto/aead.h"
#include "fabric/replay_window.h"
#include "wire/frame.h"
#include "wire/tunnel.h"

namespace sluice::agent {

// Ages in milliseconds and packets on one key, of tunnel and end-to-end keys alike.
inline constexpr uint64_t kRekeyAgeMs = 120'000;
inline constexpr uint64_t kKeyLifeMs = 180'000;
inline constexpr uint64_t kRekeyPackets = uint64_t{1} << 31;
inline constexpr uint64_t kMaxPackets = uint64_t{1} << 34;

enum class OpenVerdict : uint8_t { kOk, kMalformed, kLane, kReplay, kBadTag };

class Session {
 public:
  Session(const wire::WelcomePayload& welcome, SessionKeys keys, uint64_t born_ms);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  uint32_t own_index() const { return own_index_; }
  uint32_t relay_index() const { return relay_index_; }
  uint64_t born_ms() const { return born_ms_; }

  bool may_send(uint64_t now_ms) const {
    return now_ms < born_ms_ + kKeyLifeMs && sent_ < kMaxPackets;
  }
  bool expired(uint64_t now_ms) const { return now_ms >= born_ms_ + kKeyLifeMs; }
  bool wants_rekey(uint64_t now_ms) const {
    return now_ms >= born_ms_ + kRekeyAgeMs || sent_ >= kRekeyPackets || received_ >= kRekeyPackets;
  }

  // Something authentic has arrived on it: the relay knows that it is confirmed.
  bool answered() const { return received_ > 0; }

  // A whole DATA packet into `out`. Only while may_send(). Under the header seal `payload` has to
  // end with the 16-byte tag of an end-to-end message.
  void seal(const wire::FrameHeader& frame, Bytes payload, Buffer& out,
            wire::Seal seal = wire::Seal::kFull);

  // Opens in place. `payload` is what follows the frame header: extension, then rest.
  OpenVerdict open(MutBytes packet, wire::FrameHeader& frame, MutBytes& payload);

  // For tests of the limits: pretend that `n` packets were sent.
  void skip_packets(uint64_t n) { sent_ += n; }

 private:
  struct Keys {
    crypto::GcmKey send;
    crypto::GcmKey receive;
  };

  std::unique_ptr<Keys> keys_;
  std::unique_ptr<fabric::ReplayWindow[]> windows_;
  ByteArray<4> send_salt_;
  ByteArray<4> receive_salt_;
  uint32_t own_index_;
  uint32_t relay_index_;
  uint8_t lanes_;
  uint64_t born_ms_;
  uint64_t sent_ = 0;
  uint64_t received_ = 0;
};

}  // namespace sluice::agent
