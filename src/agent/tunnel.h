// The agent's side of the tunnel to its relay (wire.md §3, §4): greets, keeps the session alive and
// young, notices when the relay is gone and comes back. No I/O and no clock: datagrams and the time
// are passed in, what leaves goes through the hooks. One thread; hooks must not call back in.
//
// Data goes out on the newest session that the relay has answered on (the newest at all when there
// is none), so a rekey whose confirmation is lost costs nothing; old ones receive for their 180 s.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/backoff.h"
#include "agent/handshake.h"
#include "agent/now.h"
#include "agent/pins.h"
#include "agent/report.h"
#include "agent/session.h"
#include "crypto/secret.h"

namespace sluice::agent {

struct TunnelConfig {
  HandshakeParty party;
  std::string relay_name;                                 // HOST:PORT, for sentences
  std::function<uint64_t()> random = crypto::random_u64;  // indices, ping values, jitter
};

struct SessionStart {
  const wire::WelcomePayload& welcome;
  bool rekey;      // replaces a session that is alive
  bool new_epoch;  // the relay has restarted: labels mean nothing any more
};

struct TunnelHooks {
  std::function<void(Bytes datagram)> send;
  // Frames of the relay but KEEPALIVE and CREDENTIAL, of the right form; `payload` is extension,
  // then rest.
  std::function<void(const wire::FrameHeader&, MutBytes payload, Now)> frame;
  std::function<void(const SessionStart&, Now)> up;
  Report report;
  // Of each session, before it is used; for the key log alone.
  std::function<void(const wire::WelcomePayload&, const SessionKeys&, Now)> keys = {};
};

struct TunnelCounters {
  uint64_t hellos = 0, retries = 0, welcomes = 0, rekeys = 0, reconnects = 0, bad_times = 0;
  uint64_t sent = 0, received = 0, pings = 0, challenges_answered = 0;
  uint64_t dropped_malformed = 0, dropped_replay = 0, dropped_bad_tag = 0, dropped_session = 0,
           dropped_handshake = 0, dropped_frame = 0;
};

class Tunnel {
 public:
  Tunnel(TunnelConfig config, TunnelHooks hooks);

  void start(Now now) { tick(now); }
  void receive(MutBytes datagram, Now now);
  // To be called at deadline() or before; early calls do nothing.
  void tick(Now now);
  uint64_t deadline(Now now) const;  // mono_ms
  // The own address may have changed: lets the relay notice at once.
  void path_changed(Now now);

  // From the next HELLO on. Where nobody answers to it, the one that it replaced is tried in turn
  // for as long as that holds.
  void use_relay_key(const RelayKeyPin& pin) { relay_key_ = pin; }
  // Somebody has answered who holds the key of the pin: nobody who holds the one before is worth a
  // greeting any more.
  bool relay_key_proven() const { return relay_key_ && relay_key_->replaced_until_ms == 0; }

  // Greets anew, as whoever the party's identity is now, and lets go of what was. `token` outlives
  // the tunnel.
  void restart(Bytes token, Now now);

  // A session exists and the relay has not stopped answering.
  bool up(Now now) const { return alive_ && sending_session(now) != nullptr; }
  // A ping of its own, and a KEEPALIVE of the same size behind it; its value, none without a
  // session that has been answered on. What comes back is answered_probe().
  std::optional<uint64_t> probe(Now now);
  uint64_t answered_probe() const { return answered_probe_; }
  // False when there is no session to send in; the frame is dropped then.
  bool send_frame(const wire::FrameHeader& frame, Bytes payload, Now now,
                  wire::Seal seal = wire::Seal::kFull);

  // Unix milliseconds as the relay counts them.
  uint64_t relay_time(Now now) const { return now.unix_ms + uint64_t(clock_offset_ms_); }
  int64_t clock_offset_ms() const { return clock_offset_ms_; }
  const std::optional<wire::WelcomePayload>& welcome() const { return welcome_; }
  const TunnelCounters& counters() const { return counters_; }
  size_t session_count() const { return sessions_.size(); }
  uint64_t session_age_ms(Now now) const;  // of the newest, 0 without one
  std::optional<uint64_t> relay_rtt_ms() const { return rtt_ms_; }
  Session* newest() const { return sessions_.empty() ? nullptr : sessions_.back().get(); }

 private:
  struct Greeting {  // a HELLO under way
    Handshake handshake;
    uint64_t born_ms;
    uint64_t next_send_ms;
    uint8_t retries = 0;
    ByteArray<32> relay_key{};  // whom it greets
  };

  void on_welcome(Bytes packet, Now now);
  void on_retry(Bytes packet, Now now);
  void on_version(Bytes packet, Now now);
  void on_data(MutBytes packet, Now now);
  void on_keepalive(Session& session, const wire::FrameHeader& frame, Now now);
  void begin_session(const wire::WelcomePayload& payload, SessionKeys keys, Now now);
  void correct_clock(uint64_t relay_time_ms, Now now);

  Session* sending_session(Now now) const;
  bool needs_handshake(Now now) const;
  void drop_old_sessions(Now now);
  void check_liveness(Now now);
  void drive_handshake(Now now);
  void greet(Now now);
  const ByteArray<32>& relay_key(Now now) const;
  void send_hello(Now now);
  void note_silence(Now now);
  void send_ping(Now now);
  void send_keepalive(Session& session, wire::KeepaliveFlag flag, uint64_t value, Now now);
  void lose_relay(Now now);
  uint64_t idle_deadline() const;
  uint64_t silence_deadline() const;

  TunnelConfig config_;
  TunnelHooks hooks_;
  TunnelCounters counters_;
  std::vector<std::unique_ptr<Session>> sessions_;  // oldest first
  std::optional<Greeting> greeting_;
  std::optional<RelayKeyPin> relay_key_;  // in place of the configured one
  unsigned unanswered_ = 0;               // HELLOs in a row, without their repetitions
  Backoff backoff_;
  uint64_t greet_not_before_ms_ = 0;
  std::optional<crypto::Cookie> cookie_;
  uint64_t cookie_until_ms_ = 0;
  std::optional<wire::WelcomePayload> welcome_;

  uint64_t last_tick_ms_ = 0;
  bool alive_ = false;
  uint64_t last_sent_ms_ = 0;
  uint64_t last_received_ms_ = 0;
  uint64_t idle_ms_;         // this round's idle time, with jitter
  unsigned pings_open_ = 0;  // sent since something was heard
  uint64_t ping_sent_ms_ = 0;
  uint64_t ping_value_ = 0;
  uint64_t probe_value_ = 0, answered_probe_ = 0;
  std::optional<uint64_t> rtt_ms_;
  std::optional<uint64_t> last_answer_ms_;  // of a ping of the relay

  int64_t clock_offset_ms_ = 0;
  uint64_t last_time_ms_ = 0;  // in a HELLO
  unsigned bad_times_ = 0;     // in a row
  std::optional<uint64_t> silent_since_ms_;
  uint64_t silence_reported_ms_ = 0;
  std::optional<uint64_t> version_reported_ms_;
  Buffer out_;
};

}  // namespace sluice::agent
