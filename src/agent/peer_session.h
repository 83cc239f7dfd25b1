// The end-to-end session with one peer (wire.md §6): Noise KK under the static keys that both
// identities certified, then transport messages. No I/O and no clock. One thread; hooks may call
// send() and send_call(), nothing else.
//
// What the session itself has to say (handshakes, confirmations, pongs) travels in DATAGRAMs or in
// the CALL_DATA of an open call, as the owner's `route` says: not every edge takes both.
//
// Either side starts when it has something to send and no key to send with; when both do at once,
// the lower identity key is initiator and the other gives its own attempt up. A transport message
// on keys that we do not have means that the peer outlived us, so it starts a handshake too.
//
// Inside a transport message the first byte says what the rest is, so that a ping goes end to end:
//   0 data   the user's bytes
//   1 ping   id (8), filler; answered by a pong with the same bytes
//   2 pong   what the ping had
//   3 packet  of the pair's association (stream/call_streams.h), in CALL_DATA alone
//   4 keep    of the call whose CALL_DATA it is: 1 asks for a 0 back
//   5 ip      a packet of the peer's TUN device (tun/bridge.h), in a DATAGRAM
// Anything else is ignored. After KK2 the initiator pings with id 0 until it hears something on the
// new keys: that is the transport message after which the responder sends on them.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/backoff.h"
#include "agent/e2e_keys.h"
#include "agent/now.h"
#include "agent/report.h"
#include "crypto/identity.h"

namespace sluice::agent {

using wire::kPingIdSize;
using wire::MessageKind;
// Bytes of a message that are not the user's: end-to-end header and tag, kind.
inline constexpr size_t kMessageOverhead = wire::kE2eOverhead + 1;

struct PeerSessionConfig {
  const crypto::X25519KeyPair* own_key = nullptr;  // outlives the session
  crypto::PublicKey own_identity{};
  crypto::PublicKey peer_identity{};
  ByteArray<32> peer_key{};
  // Digests of the statements that made the pair; zeros: the relay's operator set it.
  ByteArray<32> request{}, grant{};
  std::string peer_name;  // for sentences
  std::function<uint64_t()> random = crypto::random_u64;
};

struct PeerSessionHooks {
  std::function<void(const Carrier&, Bytes message)> send;  // to be carried to this peer so
  std::function<void(Bytes data)> data;
  std::function<void(uint64_t id)> pong;
  // What is to carry the session's own messages: an answer to what `came_by` brought, or, where
  // that is null, anything.
  std::function<Carrier(const Carrier* came_by)> route;
  // A message of a call, in the frame that it was sealed for.
  std::function<void(const Carrier&, MessageKind, Bytes body)> call;
  Report report;
  // Of each handshake; for the key log alone. The ids are those that each side receives by.
  std::function<void(const crypto::NoiseKeys&, uint32_t initiator, uint32_t responder, Now)> keys =
      {};
  // Kind 5; ignored where it is not set.
  std::function<void(Bytes packet)> ip = {};  // of a TUN device at the peer
};

struct PeerCounters {
  uint64_t sent = 0, received = 0, handshakes = 0, failures = 0;
  uint64_t dropped_replay = 0, dropped_bad_tag = 0, dropped_unknown_key = 0, dropped_handshake = 0,
           dropped_malformed = 0, dropped_queue = 0;
};

class PeerSession {
 public:
  static constexpr size_t kQueueLimit = 256;
  enum class Sent : uint8_t { kSent, kQueued, kFull };

  PeerSession(PeerSessionConfig config, PeerSessionHooks hooks);

  // `now.unix_ms` is relay time where it is known. Starts a handshake where one is needed.
  Sent send(MessageKind kind, Bytes body, Now now);
  // For the frame of a call. Not queued: false while there are no keys, which it then asks for.
  bool send_call(const Carrier& carrier, MessageKind kind, Bytes body, Now now);
  // Starts a handshake unless there are keys, or one is under way.
  void want_keys(Now now);
  void receive(const Carrier& carrier, MutBytes message, Now now);
  void tick(Now now);
  uint64_t deadline() const;  // mono_ms, kNever when there is nothing to wait for

  bool ready(Now now) const { return sending_keys(now) != nullptr; }
  size_t queued() const { return queue_.size(); }
  // Forgets all keys and what is queued; times of handshakes stay.
  void drop();

  const std::string& last_error() const { return last_error_; }
  const PeerCounters& counters() const { return counters_; }
  size_t key_count() const { return keys_.size(); }
  E2eKeys* newest() const { return keys_.empty() ? nullptr : keys_.back().get(); }

 private:
  struct Attempt {  // KK1 sent, KK2 awaited
    crypto::NoiseHandshake noise;
    Buffer kk1;
    uint32_t own_id;
    uint64_t started_ms;
    uint64_t next_send_ms;
    Backoff backoff;
  };
  struct Confirming {  // as initiator: nothing heard on the newest keys yet
    uint64_t next_send_ms;
    unsigned left;
  };
  struct Answered {  // the KK1 accepted last and the KK2 it got
    Buffer kk1;
    Buffer kk2;
  };

  void on_kk1(const Carrier& carrier, Bytes message, Now now);
  void on_kk2(Bytes message, Now now);
  void on_transport(const Carrier& carrier, MutBytes message, Now now);
  void on_plaintext(const Carrier& carrier, Bytes plaintext, Now now);

  crypto::NoiseHandshake make_noise(crypto::NoiseRole role) const;
  uint32_t fresh_id() const;
  void start(Now now);
  void repeat_or_give_up(Now now);
  std::unique_ptr<E2eKeys> make_keys(crypto::NoiseHandshake& noise, crypto::NoiseRole role,
                                     uint32_t own_id, uint32_t peer_id, Now now);
  void install(std::unique_ptr<E2eKeys> keys);
  void flush(Now now);
  void send_on(E2eKeys& keys, const Carrier& carrier, MessageKind kind, Bytes body);
  void confirm(Now now);
  E2eKeys* sending_keys(Now now) const;
  bool wants_rekey(Now now) const;
  bool wants_start(Now now) const;

  PeerSessionConfig config_;
  PeerSessionHooks hooks_;
  PeerCounters counters_;
  std::vector<std::unique_ptr<E2eKeys>> keys_;  // those we may send on, oldest first
  std::unique_ptr<E2eKeys> unconfirmed_;        // as responder: before the first message on them
  std::optional<Attempt> attempt_;
  std::optional<Confirming> confirming_;
  std::optional<Answered> answered_;
  std::deque<std::pair<MessageKind, Buffer>> queue_;

  uint64_t last_accepted_time_ = 0;  // of the peer's KK1s
  uint64_t last_sent_time_ = 0;      // of our own
  std::optional<uint64_t> last_kk1_ms_;
  std::optional<uint64_t> last_used_ms_;  // data in either direction
  uint64_t start_not_before_ms_ = 0;
  uint64_t last_tick_ms_ = 0;
  bool peer_lost_keys_ = false;  // it sends on keys we do not have
  bool call_wants_keys_ = false;
  std::string last_error_;
  Buffer out_;
};

}  // namespace sluice::agent
