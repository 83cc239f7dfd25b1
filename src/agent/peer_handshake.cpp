// PeerSession's handshakes: Noise KK in either role, collisions, repetition, giving up.
#include <algorithm>

#include <fmt/format.h>

#include "agent/peer_session.h"

namespace sluice::agent {
namespace {

using wire::E2eHeader;
using wire::E2eType;

constexpr uint64_t kAttemptMs = 10'000;
constexpr uint64_t kPauseMs = 1'000;  // after an attempt failed, and for the other side's to finish
constexpr unsigned kConfirmations = 5;
constexpr uint64_t kFirstConfirmationMs = 200;
constexpr uint64_t kKk1EveryMs = 20;  // public-key work a peer can make us do

Buffer begin_message(E2eType type, uint32_t key_id, size_t size) {
  Buffer out(size, 0);
  store_le(out.data(), E2eHeader{uint8_t(type), {}, key_id, 0});
  return out;
}

MutBytes tokens_of(Buffer& m) {
  return MutBytes(m).subspan(sizeof(E2eHeader), wire::kKkTokens);
}
MutBytes payload_of(Buffer& m) {
  return MutBytes(m).subspan(sizeof(E2eHeader) + wire::kKkTokens);
}
Bytes tokens_of(Bytes m) {
  return m.subspan(sizeof(E2eHeader), wire::kKkTokens);
}
Bytes payload_of(Bytes m) {
  return m.subspan(sizeof(E2eHeader) + wire::kKkTokens);
}

}  // namespace

crypto::NoiseHandshake PeerSession::make_noise(crypto::NoiseRole role) const {
  const bool initiator = role == crypto::NoiseRole::kInitiator;
  const auto& first = initiator ? config_.own_identity : config_.peer_identity;
  const auto& second = initiator ? config_.peer_identity : config_.own_identity;
  ByteArray<5 * 32> prologue{};
  const auto label = padded_label<32>("sluice-e2e/1");
  std::copy(label.begin(), label.end(), prologue.begin());
  std::copy(first.begin(), first.end(), prologue.begin() + 32);
  std::copy(second.begin(), second.end(), prologue.begin() + 64);
  std::copy(config_.request.begin(), config_.request.end(), prologue.begin() + 96);
  std::copy(config_.grant.begin(), config_.grant.end(), prologue.begin() + 128);
  return crypto::NoiseHandshake(
      {crypto::NoisePattern::kKk, role, prologue, config_.own_key, config_.peer_key, nullptr});
}

std::unique_ptr<E2eKeys> PeerSession::make_keys(crypto::NoiseHandshake& noise,
                                                crypto::NoiseRole role, uint32_t own_id,
                                                uint32_t peer_id, Now now) {
  crypto::NoiseKeys keys = noise.split();
  const bool initiator = role == crypto::NoiseRole::kInitiator;
  if (hooks_.keys) {
    hooks_.keys(keys, initiator ? own_id : peer_id, initiator ? peer_id : own_id, now);
  }
  return std::make_unique<E2eKeys>(std::move(keys), role, own_id, peer_id, now.mono_ms);
}

uint32_t PeerSession::fresh_id() const {
  for (;;) {
    const auto id = static_cast<uint32_t>(config_.random());
    const bool taken =
        std::any_of(keys_.begin(), keys_.end(), [&](const auto& k) { return k->own_id() == id; }) ||
        (unconfirmed_ && unconfirmed_->own_id() == id) || (attempt_ && attempt_->own_id == id);
    if (id != 0 && !taken) return id;
  }
}

void PeerSession::start(Now now) {
  Attempt a{make_noise(crypto::NoiseRole::kInitiator),
            {},
            fresh_id(),
            now.mono_ms,
            0,
            Backoff(200, 2'000)};
  a.kk1 = begin_message(E2eType::kKk1, a.own_id, wire::kKk1Size);
  if (!a.noise.write_tokens(tokens_of(a.kk1))) {
    last_error_ = fmt::format("the end-to-end key of {} is not usable", config_.peer_name);
    counters_.dropped_queue += queue_.size();
    queue_.clear();
    ++counters_.failures;
    call_wants_keys_ = false;
    start_not_before_ms_ = now.mono_ms + kAttemptMs;
    return;
  }
  last_sent_time_ = std::max(now.unix_ms, last_sent_time_ + 1);
  ByteArray<wire::kKk1Payload> time;
  store_le(time.data(), last_sent_time_);
  a.noise.write_payload(time, payload_of(a.kk1));
  a.next_send_ms = now.mono_ms + a.backoff.next(config_.random());
  attempt_.emplace(std::move(a));
  hooks_.send(hooks_.route(nullptr), attempt_->kk1);
}

// The attempt's next message is due: the same KK1 again, or an end with a clear error.
void PeerSession::repeat_or_give_up(Now now) {
  if (now.mono_ms < attempt_->started_ms + kAttemptMs) {
    attempt_->next_send_ms = now.mono_ms + attempt_->backoff.next(config_.random());
    hooks_.send(hooks_.route(nullptr), attempt_->kk1);
    return;
  }
  attempt_.reset();
  peer_lost_keys_ = call_wants_keys_ = false;
  start_not_before_ms_ = now.mono_ms + kPauseMs;
  ++counters_.failures;
  const bool still_sends = sending_keys(now) != nullptr;
  last_error_ = fmt::format(
      "{} did not answer the end-to-end handshake for {} s: is it connected, "
      "and is there an edge in both directions?",
      config_.peer_name, kAttemptMs / 1000);
  hooks_.report(Level::kWarn, last_error_);
  if (still_sends) return;
  counters_.dropped_queue += queue_.size();
  queue_.clear();
}

void PeerSession::on_kk1(const Carrier& carrier, Bytes message, Now now) {
  if (answered_ &&
      std::equal(message.begin(), message.end(), answered_->kk1.begin(), answered_->kk1.end())) {
    // Its KK2 was lost; once the keys are confirmed the peer has it.
    if (unconfirmed_) hooks_.send(hooks_.route(&carrier), answered_->kk2);
    return;
  }
  const bool too_soon = last_kk1_ms_ && now.mono_ms < *last_kk1_ms_ + kKk1EveryMs;
  const bool ours_goes_on = attempt_ && config_.own_identity < config_.peer_identity;
  if (too_soon || ours_goes_on) {
    ++counters_.dropped_handshake;
    return;
  }
  last_kk1_ms_ = now.mono_ms;
  auto noise = make_noise(crypto::NoiseRole::kResponder);
  ByteArray<wire::kKk1Payload> time_bytes;
  if (!noise.read_tokens(tokens_of(message)) ||
      !noise.read_payload(payload_of(message), time_bytes)) {
    ++counters_.dropped_handshake;
    return;
  }
  const auto time = load_le<uint64_t>(time_bytes.data());
  if (time <= last_accepted_time_) {
    ++counters_.dropped_replay;
    return;
  }
  const uint32_t peer_id = load_le<E2eHeader>(message.data()).key_id;
  const uint32_t own_id = fresh_id();
  Buffer kk2 = begin_message(E2eType::kKk2, peer_id, wire::kKk2Size);
  if (!noise.write_tokens(tokens_of(kk2))) {
    ++counters_.dropped_handshake;
    return;
  }
  ByteArray<wire::kKk2Payload> id_bytes;
  store_le(id_bytes.data(), own_id);
  noise.write_payload(id_bytes, payload_of(kk2));

  last_accepted_time_ = time;
  attempt_.reset();
  start_not_before_ms_ = now.mono_ms + kPauseMs;
  unconfirmed_ = make_keys(noise, crypto::NoiseRole::kResponder, own_id, peer_id, now);
  ++counters_.handshakes;
  answered_ = Answered{to_buffer(message), std::move(kk2)};
  hooks_.send(hooks_.route(&carrier), answered_->kk2);
}

void PeerSession::on_kk2(Bytes message, Now now) {
  const uint32_t key_id = load_le<E2eHeader>(message.data()).key_id;
  ByteArray<wire::kKk2Payload> id_bytes;
  if (!attempt_ || attempt_->own_id != key_id) {
    ++counters_.dropped_handshake;
    return;
  }
  if (!attempt_->noise.read_tokens(tokens_of(message)) ||
      !attempt_->noise.read_payload(payload_of(message), id_bytes)) {
    // Reading spoiled the Noise state, so this attempt is over; only the relay can bring that
    // about.
    ++counters_.dropped_handshake;
    attempt_.reset();
    start_not_before_ms_ = now.mono_ms + kPauseMs;
    return;
  }
  auto keys = make_keys(attempt_->noise, crypto::NoiseRole::kInitiator, key_id,
                        load_le<uint32_t>(id_bytes.data()), now);
  attempt_.reset();
  start_not_before_ms_ = now.mono_ms + kPauseMs;
  // The peer may already send on keys of its own handshake, whose first message is still on its
  // way.
  if (unconfirmed_) install(std::move(unconfirmed_));
  install(std::move(keys));
  ++counters_.handshakes;
  confirm(now);
  confirming_ = Confirming{now.mono_ms + kFirstConfirmationMs, kConfirmations - 1};
  flush(now);
}

}  // namespace sluice::agent
