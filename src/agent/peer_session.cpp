#include "agent/peer_session.h"

#include <algorithm>

namespace sluice::agent {
namespace {

constexpr size_t kMaxKeys = 3;
// The responder rekeys later, so that normally only one side starts.
constexpr uint64_t kResponderPatienceMs = 10'000;
// Sessions without traffic are left to expire; the next message makes a new one.
constexpr uint64_t kUsedWithinMs = 60'000;

}  // namespace

PeerSession::PeerSession(PeerSessionConfig config, PeerSessionHooks hooks)
    : config_(std::move(config)), hooks_(std::move(hooks)) {}

PeerSession::Sent PeerSession::send(MessageKind kind, Bytes body, Now now) {
  last_used_ms_ = now.mono_ms;
  if (E2eKeys* keys = sending_keys(now); keys != nullptr && queue_.empty()) {
    send_on(*keys, {}, kind, body);
    if (wants_start(now)) start(now);
    return Sent::kSent;
  }
  if (queue_.size() >= kQueueLimit) return Sent::kFull;
  queue_.emplace_back(kind, to_buffer(body));
  if (wants_start(now)) start(now);
  return Sent::kQueued;
}

bool PeerSession::send_call(const Carrier& carrier, MessageKind kind, Bytes body, Now now) {
  E2eKeys* keys = sending_keys(now);
  if (keys == nullptr) {
    want_keys(now);
    return false;
  }
  last_used_ms_ = now.mono_ms;
  send_on(*keys, carrier, kind, body);
  if (wants_start(now)) start(now);
  return true;
}

void PeerSession::want_keys(Now now) {
  if (sending_keys(now) != nullptr) return;
  call_wants_keys_ = true;
  if (wants_start(now)) start(now);
}

void PeerSession::send_on(E2eKeys& keys, const Carrier& carrier, MessageKind kind, Bytes body) {
  keys.seal(carrier, uint8_t(kind), body, out_);
  ++counters_.sent;
  hooks_.send(carrier, out_);
}

void PeerSession::flush(Now now) {
  E2eKeys* keys = sending_keys(now);
  while (keys != nullptr && !queue_.empty()) {
    const auto [kind, body] = std::move(queue_.front());
    queue_.pop_front();
    send_on(*keys, {}, kind, body);
  }
}

void PeerSession::receive(const Carrier& carrier, MutBytes message, Now now) {
  const auto header = wire::parse_e2e(message);
  if (!header) {
    ++counters_.dropped_malformed;
    return;
  }
  switch (static_cast<wire::E2eType>(header->type)) {
    case wire::E2eType::kKk1:
      return on_kk1(carrier, message, now);
    case wire::E2eType::kKk2:
      return on_kk2(message, now);
    case wire::E2eType::kTransport:
      return on_transport(carrier, message, now);
  }
}

void PeerSession::on_transport(const Carrier& carrier, MutBytes message, Now now) {
  const uint32_t id = load_le<wire::E2eHeader>(message.data()).key_id;
  const bool on_unconfirmed = unconfirmed_ && unconfirmed_->own_id() == id;
  E2eKeys* keys = unconfirmed_.get();
  if (!on_unconfirmed) {
    const auto it =
        std::find_if(keys_.begin(), keys_.end(), [&](const auto& k) { return k->own_id() == id; });
    keys = it == keys_.end() ? nullptr : it->get();
  }
  if (keys == nullptr || keys->expired(now.mono_ms)) {
    ++counters_.dropped_unknown_key;
    // Right after a handshake these are stragglers on the old keys.
    if (now.mono_ms >= start_not_before_ms_) peer_lost_keys_ = true;
    if (wants_start(now)) start(now);
    return;
  }
  MutBytes plaintext;
  switch (keys->open(carrier, message, plaintext)) {
    case OpenVerdict::kOk:
      break;
    case OpenVerdict::kReplay:
      ++counters_.dropped_replay;
      return;
    default:
      ++counters_.dropped_bad_tag;
      return;
  }
  if (on_unconfirmed) install(std::move(unconfirmed_));
  if (confirming_ && newest()->heard()) confirming_.reset();
  flush(now);
  on_plaintext(carrier, plaintext, now);
}

void PeerSession::on_plaintext(const Carrier& carrier, Bytes plaintext, Now now) {
  if (plaintext.empty()) return;
  const Bytes body = plaintext.subspan(1);
  switch (static_cast<MessageKind>(plaintext[0])) {
    case MessageKind::kData:
      if (carrier.is_call()) return;
      last_used_ms_ = now.mono_ms;
      ++counters_.received;
      return hooks_.data(body);
    case MessageKind::kIp:
      if (carrier.is_call()) return;
      last_used_ms_ = now.mono_ms;
      if (hooks_.ip) hooks_.ip(body);
      return;
    case MessageKind::kPing:
      if (E2eKeys* keys = sending_keys(now); keys != nullptr && body.size() >= kPingIdSize) {
        send_on(*keys, hooks_.route(&carrier), MessageKind::kPong, body);
      }
      return;
    case MessageKind::kPong:
      if (body.size() >= kPingIdSize) {
        const auto id = load_le<uint64_t>(body.data());
        if (id != 0) hooks_.pong(id);
      }
      return;
    case MessageKind::kPacket:
    case MessageKind::kKeep:
      if (!carrier.is_call()) return;
      last_used_ms_ = now.mono_ms;
      return hooks_.call(carrier, static_cast<MessageKind>(plaintext[0]), body);
  }
}

// --- Keys --------------------------------------------------------------------------------------

E2eKeys* PeerSession::sending_keys(Now now) const {
  return !keys_.empty() && keys_.back()->may_send(now.mono_ms) ? keys_.back().get() : nullptr;
}

void PeerSession::install(std::unique_ptr<E2eKeys> keys) {
  keys_.push_back(std::move(keys));
  if (keys_.size() > kMaxKeys) keys_.erase(keys_.begin());
  peer_lost_keys_ = call_wants_keys_ = false;
  last_error_.clear();
}

bool PeerSession::wants_rekey(Now now) const {
  if (keys_.empty()) return false;
  const E2eKeys& k = *keys_.back();
  const uint64_t age = kRekeyAgeMs + (k.initiator() ? 0 : kResponderPatienceMs);
  const bool used = last_used_ms_ && now.mono_ms < *last_used_ms_ + kUsedWithinMs;
  return used && (now.mono_ms >= k.born_ms() + age || k.over_rekey_packets());
}

bool PeerSession::wants_start(Now now) const {
  if (attempt_ || now.mono_ms < start_not_before_ms_) return false;
  const bool waited_for = !queue_.empty() || call_wants_keys_;
  return (waited_for && sending_keys(now) == nullptr) || peer_lost_keys_ || wants_rekey(now);
}

void PeerSession::drop() {
  keys_.clear();
  unconfirmed_.reset();
  attempt_.reset();
  confirming_.reset();
  answered_.reset();
  counters_.dropped_queue += queue_.size();
  queue_.clear();
  peer_lost_keys_ = call_wants_keys_ = false;
}

void PeerSession::confirm(Now now) {
  const ByteArray<kPingIdSize> id_zero{};
  if (E2eKeys* keys = sending_keys(now))
    send_on(*keys, hooks_.route(nullptr), MessageKind::kPing, id_zero);
}

void PeerSession::tick(Now now) {
  last_tick_ms_ = now.mono_ms;
  std::erase_if(keys_, [&](const auto& k) { return k->expired(now.mono_ms); });
  if (unconfirmed_ && unconfirmed_->expired(now.mono_ms)) unconfirmed_.reset();
  if (confirming_ && now.mono_ms >= confirming_->next_send_ms) {
    confirm(now);
    confirming_->next_send_ms = now.mono_ms + (800u >> --confirming_->left);
    if (confirming_->left == 0) confirming_.reset();
  }
  if (attempt_ && now.mono_ms >= attempt_->next_send_ms) repeat_or_give_up(now);
  if (wants_start(now)) start(now);
}

uint64_t PeerSession::deadline() const {
  uint64_t at = kNever;
  if (attempt_) at = std::min(at, attempt_->next_send_ms);
  if (confirming_) at = std::min(at, confirming_->next_send_ms);
  if (!attempt_ && (!queue_.empty() || peer_lost_keys_ || call_wants_keys_)) {
    at = std::min(at, start_not_before_ms_);
  }
  // Ages are long; a second's delay in rekeying or forgetting keys does no harm.
  if (!keys_.empty() || unconfirmed_) at = std::min(at, last_tick_ms_ + 1'000);
  return at;
}

}  // namespace sluice::agent
