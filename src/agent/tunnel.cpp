#include "agent/tunnel.h"

#include <algorithm>

#include <fmt/format.h>

#include "crypto/secret.h"

namespace sluice::agent {
namespace {

constexpr uint64_t kIdleMs = 15'000;
constexpr uint64_t kIdleJitterMs = 1'500;  // either way
constexpr uint64_t kPingTimeoutMs = 2'000;
constexpr unsigned kPingsLost = 2;         // in a row: the relay is gone
constexpr uint64_t kConfirmEveryMs = 400;  // several fall into the relay's one answer a second
constexpr uint64_t kConfirmWithinMs = 5'000;
// The protocol's once a second, less what the path may shorten between two of the relay's.
constexpr uint64_t kAnswerEveryMs = 900;
constexpr size_t kMaxSessions = 4;
constexpr uint64_t kLatestTickMs = 1'000;

}  // namespace

Tunnel::Tunnel(TunnelConfig config, TunnelHooks hooks)
    : config_(std::move(config)),
      hooks_(std::move(hooks)),
      backoff_(100, 5'000),
      idle_ms_(kIdleMs) {}

void Tunnel::tick(Now now) {
  last_tick_ms_ = now.mono_ms;
  drop_old_sessions(now);
  check_liveness(now);
  drive_handshake(now);
}

void Tunnel::receive(MutBytes datagram, Now now) {
  if (datagram.size() < sizeof(wire::OuterHeader)) {
    ++counters_.dropped_malformed;
    return;
  }
  switch (static_cast<wire::Type>(datagram[0])) {
    case wire::Type::kData:
      return on_data(datagram, now);
    case wire::Type::kWelcome:
      return on_welcome(datagram, now);
    case wire::Type::kRetry:
      return on_retry(datagram, now);
    case wire::Type::kVersion:
      return on_version(datagram, now);
    case wire::Type::kHello:
      break;
  }
  ++counters_.dropped_malformed;
}

// --- Sessions --------------------------------------------------------------------------------

Session* Tunnel::sending_session(Now now) const {
  Session* newest = nullptr;
  for (auto it = sessions_.rbegin(); it != sessions_.rend(); ++it) {
    if (!(*it)->may_send(now.mono_ms)) continue;
    if ((*it)->answered()) return it->get();
    if (newest == nullptr) newest = it->get();
  }
  return newest;
}

uint64_t Tunnel::session_age_ms(Now now) const {
  return sessions_.empty() ? 0 : now.mono_ms - sessions_.back()->born_ms();
}

void Tunnel::drop_old_sessions(Now now) {
  std::erase_if(sessions_, [&](const auto& s) { return s->expired(now.mono_ms); });
  if (sessions_.size() > kMaxSessions) sessions_.erase(sessions_.begin());
  if (sessions_.empty()) alive_ = false;
}

void Tunnel::begin_session(const wire::WelcomePayload& payload, SessionKeys keys, Now now) {
  const bool rekey = alive_ && !sessions_.empty();
  const bool new_epoch = !welcome_ || welcome_->relay_epoch != payload.relay_epoch;
  counters_.rekeys += rekey ? 1 : 0;
  ++counters_.welcomes;
  welcome_ = payload;
  if (hooks_.keys) hooks_.keys(payload, keys, now);
  sessions_.push_back(std::make_unique<Session>(payload, std::move(keys), now.mono_ms));
  drop_old_sessions(now);
  greeting_.reset();
  backoff_.reset();
  silent_since_ms_.reset();
  bad_times_ = 0;
  pings_open_ = 0;
  alive_ = true;
  last_received_ms_ = now.mono_ms;
  send_ping(now);  // the confirmation
  if (hooks_.up) hooks_.up({payload, rekey, new_epoch}, now);
}

bool Tunnel::send_frame(const wire::FrameHeader& frame, Bytes payload, Now now, wire::Seal seal) {
  Session* s = sending_session(now);
  if (s == nullptr) return false;
  s->seal(frame, payload, out_, seal);
  last_sent_ms_ = now.mono_ms;
  ++counters_.sent;
  hooks_.send(out_);
  return true;
}

void Tunnel::on_data(MutBytes packet, Now now) {
  const auto outer = wire::read_outer(packet.data());
  const auto it = std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& s) {
    return s->own_index() == outer.receiver && !s->expired(now.mono_ms);
  });
  if (outer.version != wire::kProtocolVersion || it == sessions_.end()) {
    ++counters_.dropped_session;
    return;
  }
  Session& session = **it;
  wire::FrameHeader frame{};
  MutBytes payload;
  switch (session.open(packet, frame, payload)) {
    case OpenVerdict::kOk:
      break;
    case OpenVerdict::kReplay:
      ++counters_.dropped_replay;
      return;
    case OpenVerdict::kBadTag:
      ++counters_.dropped_bad_tag;
      return;
    case OpenVerdict::kMalformed:
    case OpenVerdict::kLane:
      ++counters_.dropped_malformed;
      return;
  }
  ++counters_.received;
  last_received_ms_ = now.mono_ms;
  pings_open_ = 0;
  silent_since_ms_.reset();
  if (!alive_) {
    alive_ = true;
    hooks_.report(Level::kInfo, fmt::format("the relay {} answers again", config_.relay_name));
  }
  const bool credential = frame.type == uint8_t(wire::FrameType::kCredential);
  if (wire::check_relay_frame(frame, payload.size()) != wire::FrameVerdict::kOk) {
    ++counters_.dropped_frame;
  } else if (frame.type == uint8_t(wire::FrameType::kKeepalive)) {
    on_keepalive(session, frame, now);
  } else {
    hooks_.frame(frame, payload, now);
  }
  // Whoever keeps it has it in guarded memory; this buffer is everybody's.
  if (credential) crypto::wipe(payload.data(), payload.size());
}

// --- Keepalives ------------------------------------------------------------------------------

void Tunnel::on_keepalive(Session& session, const wire::FrameHeader& frame, Now now) {
  switch (static_cast<wire::KeepaliveFlag>(frame.flags)) {
    case wire::KeepaliveFlag::kPlain:
      return;
    case wire::KeepaliveFlag::kPing:
      if (last_answer_ms_ && now.mono_ms < *last_answer_ms_ + kAnswerEveryMs) return;
      if (!session.may_send(now.mono_ms)) return;
      last_answer_ms_ = now.mono_ms;
      ++counters_.challenges_answered;
      // On the session it came on: a challenge's value is bound to it.
      return send_keepalive(session, wire::KeepaliveFlag::kAnswer, frame.call_id, now);
    case wire::KeepaliveFlag::kAnswer:
      if (frame.call_id == ping_value_) rtt_ms_ = now.mono_ms - ping_sent_ms_;
      if (frame.call_id == probe_value_) answered_probe_ = probe_value_;
      return;
  }
}

void Tunnel::send_keepalive(Session& session, wire::KeepaliveFlag flag, uint64_t value, Now now) {
  session.seal({uint8_t(wire::FrameType::kKeepalive), uint8_t(flag), 0, 0, value}, {}, out_);
  last_sent_ms_ = now.mono_ms;
  ++counters_.sent;
  hooks_.send(out_);
}

void Tunnel::send_ping(Now now) {
  Session* s = newest();
  if (s == nullptr || !s->may_send(now.mono_ms)) return;
  ping_value_ = config_.random();
  ping_sent_ms_ = now.mono_ms;
  idle_ms_ = kIdleMs - kIdleJitterMs + config_.random() % (2 * kIdleJitterMs + 1);
  ++pings_open_;
  ++counters_.pings;
  send_keepalive(*s, wire::KeepaliveFlag::kPing, ping_value_, now);
}

std::optional<uint64_t> Tunnel::probe(Now now) {
  Session* s = newest();
  if (s == nullptr || !s->answered() || !s->may_send(now.mono_ms)) return std::nullopt;
  probe_value_ = config_.random() | 1;
  send_keepalive(*s, wire::KeepaliveFlag::kPing, probe_value_, now);
  send_keepalive(*s, wire::KeepaliveFlag::kPlain, 0, now);
  return probe_value_;
}

uint64_t Tunnel::idle_deadline() const {
  // Silence one way can hide a dead path or a forgotten NAT entry, so either direction counts.
  return std::min(last_sent_ms_, last_received_ms_) + idle_ms_;
}

void Tunnel::check_liveness(Now now) {
  const Session* s = newest();
  if (s == nullptr || !alive_) return;
  if (!s->answered()) {
    if (now.mono_ms >= s->born_ms() + kConfirmWithinMs) {
      // The relay has dropped an unconfirmed session by now.
      sessions_.pop_back();
      pings_open_ = 0;
      if (sessions_.empty()) alive_ = false;
      hooks_.report(Level::kWarn, fmt::format("the relay {} accepted a session and then did not "
                                              "answer on it for 5 s; trying again",
                                              config_.relay_name));
    } else if (now.mono_ms >= ping_sent_ms_ + kConfirmEveryMs) {
      send_ping(now);
    }
    return;
  }
  if (pings_open_ == 0) {
    if (now.mono_ms >= idle_deadline()) send_ping(now);
  } else if (now.mono_ms >= ping_sent_ms_ + kPingTimeoutMs) {
    if (pings_open_ >= kPingsLost) return lose_relay(now);
    send_ping(now);
  }
}

void Tunnel::lose_relay(Now now) {
  alive_ = false;
  ++counters_.reconnects;
  pings_open_ = 0;
  greeting_.reset();
  backoff_.reset();
  greet_not_before_ms_ = now.mono_ms;
  hooks_.report(Level::kWarn, fmt::format("the relay {} left two pings unanswered; reconnecting",
                                          config_.relay_name));
}

void Tunnel::restart(Bytes token, Now now) {
  config_.party.token = token;
  sessions_.clear();
  greeting_.reset();
  backoff_.reset();
  alive_ = false;
  pings_open_ = 0;
  unanswered_ = 0;
  greet_not_before_ms_ = now.mono_ms;
  drive_handshake(now);
}

void Tunnel::path_changed(Now now) {
  if (alive_) send_ping(now);
  if (greeting_) {
    backoff_.reset();
    send_hello(now);
  }
}

uint64_t Tunnel::deadline(Now now) const {
  // Ages and packet counts are looked at this often; traffic must not put it off.
  uint64_t at = std::min(last_tick_ms_ + kLatestTickMs, silence_deadline());
  if (greeting_) {
    at = std::min(at, greeting_->next_send_ms);
  } else if (needs_handshake(now)) {
    at = std::min(at, greet_not_before_ms_);
  }
  const Session* s = newest();
  if (s == nullptr || !alive_) return at;
  if (!s->answered()) {
    return std::min({at, ping_sent_ms_ + kConfirmEveryMs, s->born_ms() + kConfirmWithinMs});
  }
  return std::min(at, pings_open_ > 0 ? ping_sent_ms_ + kPingTimeoutMs : idle_deadline());
}

}  // namespace sluice::agent
