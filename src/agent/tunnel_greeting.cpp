// The tunnel's handshakes: when to greet the relay, how often, and what its answers mean.
#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "agent/tunnel.h"

namespace sluice::agent {
namespace {

// The same HELLO is repeated this long: less than the 5 s for which the relay keeps its unconfirmed
// session and answers a repetition; after that its time is old.
constexpr uint64_t kHelloLifeMs = 4'500;
constexpr uint64_t kCookieLifeMs = 120'000;
constexpr uint8_t kRetriesPerHello = 4;
// The user hears of it within 5 s.
constexpr uint64_t kSilenceMs = 4'500;
constexpr uint64_t kRepeatReportMs = 60'000;
// The relay takes times up to 60 s ahead of its clock, so the last it took from this identity may
// lie that far ahead: what to add when its own clock did not do.
constexpr uint64_t kAheadMs = 55'000;
// Less than this between the clocks is no reason for the user to look at them.
constexpr int64_t kWorthSayingMs = 1'000;

}  // namespace

bool Tunnel::needs_handshake(Now now) const {
  const Session* s = newest();
  return !alive_ || s == nullptr || (s->answered() && s->wants_rekey(now.mono_ms));
}

void Tunnel::drive_handshake(Now now) {
  if (!needs_handshake(now)) {
    greeting_.reset();
    return;
  }
  if (!alive_ && !silent_since_ms_) silent_since_ms_ = now.mono_ms;
  if (!greeting_) {
    if (now.mono_ms >= greet_not_before_ms_) greet(now);
  } else if (now.mono_ms >= greeting_->next_send_ms) {
    if (now.mono_ms >= greeting_->born_ms + kHelloLifeMs) {
      greet(now);
    } else {
      send_hello(now);
    }
  }
  note_silence(now);
}

const ByteArray<32>& Tunnel::relay_key(Now now) const {
  if (!relay_key_) return config_.party.relay_key;
  const bool before = unanswered_ % 2 == 1 && relay_time(now) < relay_key_->replaced_until_ms;
  return before ? relay_key_->replaced : relay_key_->key;
}

void Tunnel::greet(Now now) {
  uint32_t index = 0;
  const auto taken = [&] {
    return std::any_of(sessions_.begin(), sessions_.end(),
                       [&](const auto& s) { return s->own_index() == index; });
  };
  while (index == 0 || taken()) index = static_cast<uint32_t>(config_.random());
  const uint32_t relay_index = alive_ && newest() != nullptr ? newest()->relay_index() : 0;
  const uint64_t ahead = bad_times_ >= 2 ? kAheadMs : 0;
  last_time_ms_ = std::max(relay_time(now) + ahead, last_time_ms_ + 1);
  HandshakeParty party = config_.party;
  party.relay_key = relay_key(now);
  greeting_.emplace(Greeting{Handshake(party, index, relay_index, last_time_ms_), now.mono_ms,
                             now.mono_ms, 0, party.relay_key});
  ++unanswered_;
  if (!greeting_->handshake.ok()) {
    greeting_.reset();
    greet_not_before_ms_ = now.mono_ms + kRepeatReportMs;
    hooks_.report(Level::kError,
                  "the relay's key in this agent's identity file is not a key that "
                  "anyone can have; run init again with the right join string");
    return;
  }
  send_hello(now);
}

void Tunnel::send_hello(Now now) {
  if (cookie_ && now.mono_ms >= cookie_until_ms_) cookie_.reset();
  if (cookie_) greeting_->handshake.use_cookie(*cookie_);
  greeting_->next_send_ms = now.mono_ms + backoff_.next(config_.random());
  ++counters_.hellos;
  hooks_.send(greeting_->handshake.hello());
}

uint64_t Tunnel::silence_deadline() const {
  if (!silent_since_ms_) return UINT64_MAX;
  const uint64_t first = *silent_since_ms_ + kSilenceMs;
  return silence_reported_ms_ >= first ? silence_reported_ms_ + kRepeatReportMs : first;
}

void Tunnel::note_silence(Now now) {
  if (now.mono_ms < silence_deadline()) return;
  silence_reported_ms_ = now.mono_ms;
  hooks_.report(
      Level::kError,
      fmt::format("no answer from {} over UDP for {:.1f} s: is UDP blocked, the relay down, or "
                  "this agent not enrolled there?",
                  config_.relay_name, double(now.mono_ms - *silent_since_ms_) / 1000));
}

void Tunnel::on_retry(Bytes packet, Now now) {
  const auto cookie = greeting_ ? greeting_->handshake.read_retry(packet) : std::nullopt;
  // A RETRY played again must not make HELLOs: each cookie is used at once only once.
  if (!cookie || (cookie_ && *cookie == *cookie_) || greeting_->retries >= kRetriesPerHello) {
    ++counters_.dropped_handshake;
    return;
  }
  ++greeting_->retries;
  ++counters_.retries;
  cookie_ = *cookie;
  cookie_until_ms_ = now.mono_ms + kCookieLifeMs;
  send_hello(now);
}

void Tunnel::on_welcome(Bytes packet, Now now) {
  auto welcome = greeting_ ? greeting_->handshake.read_welcome(packet) : std::nullopt;
  if (!welcome) {
    ++counters_.dropped_handshake;
    return;
  }
  unanswered_ = 0;
  if (relay_key_ && greeting_->relay_key == relay_key_->key) relay_key_->replaced_until_ms = 0;
  if (welcome->keys) return begin_session(welcome->payload, std::move(*welcome->keys), now);
  correct_clock(welcome->payload.relay_time_ms, now);
}

// The relay answered, gave its time and no session.
void Tunnel::correct_clock(uint64_t relay_time_ms, Now now) {
  ++bad_times_;
  ++counters_.bad_times;
  silent_since_ms_.reset();
  clock_offset_ms_ = static_cast<int64_t>(relay_time_ms - now.unix_ms);
  // What was sent ahead of the true time must not hold the corrected one up.
  last_time_ms_ = 0;
  const int64_t apart = std::abs(clock_offset_ms_);
  if (bad_times_ == 1 && apart >= kWorthSayingMs) {
    hooks_.report(Level::kWarn,
                  fmt::format("the relay did not take this host's time, which is {} ms {} the "
                              "relay's; corrected for the tunnel, trying again",
                              apart, clock_offset_ms_ < 0 ? "ahead of" : "behind"));
  } else if (bad_times_ == 4) {
    hooks_.report(Level::kError, fmt::format("the relay {} does not take its own time back: does "
                                             "another host use this agent's identity?",
                                             config_.relay_name));
  }
  greeting_.reset();
  greet_not_before_ms_ = now.mono_ms + (bad_times_ == 1 ? 0 : backoff_.next(config_.random()));
  drive_handshake(now);
}

void Tunnel::on_version(Bytes packet, Now now) {
  const auto version = wire::parse_version(packet);
  if (!version || !greeting_ || version->sender != greeting_->handshake.index() ||
      version->counter != 0) {
    ++counters_.dropped_handshake;
    return;
  }
  if (version_reported_ms_ && now.mono_ms < *version_reported_ms_ + kRepeatReportMs) return;
  version_reported_ms_ = now.mono_ms;
  std::string list;
  for (uint8_t v : version->versions) list += fmt::format("{}{}", list.empty() ? "" : ", ", v);
  hooks_.report(
      Level::kError,
      fmt::format("something at {} answers that it speaks tunnel version {}, this agent "
                  "speaks {}: upgrade the older of the two",
                  config_.relay_name, list.empty() ? "none" : list, wire::kProtocolVersion));
}

}  // namespace sluice::agent
