#include "agent/handshake.h"

#include "crypto/hash.h"

namespace sluice::agent {
namespace {

ByteArray<16> mac1(const ByteArray<32>& receiver_key, Bytes before) {
  return crypto::blake2b_128(crypto::mac1_key(receiver_key), {before});
}

SessionKeys session_keys(crypto::NoiseKeys keys) {
  SessionKeys out{
      std::move(keys.initiator_to_responder), std::move(keys.responder_to_initiator), {}, {}};
  ByteArray<8> salts;
  crypto::hkdf_sha256(keys.hash, "sluice/1 salts", salts);
  out.send_salt = take<4>(salts.data());
  out.receive_salt = take<4>(salts.data() + 4);
  return out;
}

}  // namespace

Handshake::Handshake(const HandshakeParty& party, uint32_t index, uint32_t relay_index,
                     uint64_t time_ms)
    : party_(party),
      index_(index),
      time_ms_(time_ms),
      ephemeral_(crypto::X25519KeyPair::generate()) {
  const size_t noise_size =
      wire::kHelloTokens + wire::hello_payload_size(party.token.size()) + wire::kTagSize;
  packet_.assign(wire::kNoiseOffset + noise_size + 2 * wire::kMacSize, 0);
  wire::write_outer(packet_.data(), {uint8_t(wire::Type::kHello), wire::kProtocolVersion,
                                     static_cast<uint16_t>(noise_size), relay_index, 0});
  store_le(packet_.data() + sizeof(wire::OuterHeader), index_);
  write_hello();
}

// Also brings the Noise state back to where it was after message 1: with the same ephemeral key
// every step is deterministic. mac2 stays as it is.
void Handshake::write_hello() {
  const auto prologue = wire::hello_prologue(packet_);
  const crypto::Key256 no_psk;
  noise_.emplace(crypto::NoiseConfig{crypto::NoisePattern::kIkPsk2, crypto::NoiseRole::kInitiator,
                                     prologue, party_.tunnel_key, party_.relay_key, &no_psk});
  noise_->set_ephemeral(ephemeral_.clone());
  uint8_t* tokens = packet_.data() + wire::kNoiseOffset;
  if (!noise_->write_tokens({tokens, wire::kHelloTokens})) {
    noise_.reset();
    return;
  }
  const auto& identity = *party_.identity;
  Buffer payload = wire::build_hello_payload(identity.public_key(), time_ms_, 0, party_.token,
                                             wire::hello_payload_size(party_.token.size()));
  const auto signature = identity.sign(crypto::kLabelHello, {noise_->hash(), payload});
  payload.insert(payload.end(), signature.begin(), signature.end());
  noise_->write_payload(payload, {tokens + wire::kHelloTokens, payload.size() + wire::kTagSize});
  crypto::wipe(payload.data(), payload.size());  // it holds the token
  const Bytes before = Bytes(packet_).first(packet_.size() - 2 * wire::kMacSize);
  const auto mac = mac1(party_.relay_key, before);
  std::memcpy(packet_.data() + before.size(), mac.data(), mac.size());
}

void Handshake::use_cookie(const crypto::Cookie& cookie) {
  const Bytes before = Bytes(packet_).first(packet_.size() - wire::kMacSize);
  const auto mac = crypto::blake2b_128(cookie, {before});
  std::memcpy(packet_.data() + before.size(), mac.data(), mac.size());
}

std::optional<crypto::Cookie> Handshake::read_retry(Bytes packet) const {
  const auto retry = wire::parse_retry(packet);
  if (!retry || retry->outer.receiver != index_) return std::nullopt;
  const Bytes own_mac1 =
      Bytes(packet_).subspan(packet_.size() - 2 * wire::kMacSize, wire::kMacSize);
  crypto::Cookie cookie;
  if (!crypto::open_cookie(party_.relay_key, retry->nonce, own_mac1, retry->sealed_cookie,
                           cookie)) {
    return std::nullopt;
  }
  return cookie;
}

std::optional<wire::WelcomePayload> Handshake::open_welcome(const wire::WelcomeView& view) {
  wire::WelcomePayload payload{};
  const Bytes noise = view.noise();
  if (noise_ && noise_->read_tokens(noise.first(wire::kWelcomeTokens)) &&
      noise_->read_payload(noise.subspan(wire::kWelcomeTokens),
                           {reinterpret_cast<uint8_t*>(&payload), sizeof payload})) {
    return payload;
  }
  // A failed reading spoils the Noise state, and an old WELCOME played again has a good mac1.
  write_hello();
  return std::nullopt;
}

std::optional<Welcome> Handshake::read_welcome(Bytes packet) {
  const auto view = wire::parse_welcome(packet);
  if (!view || (view->outer.receiver != index_ && view->outer.receiver != 0)) return std::nullopt;
  const auto expected = mac1(party_.tunnel_key->public_key, view->before_mac1());
  if (!crypto::equal_secret(expected, view->mac1())) return std::nullopt;
  const auto payload = open_welcome(*view);
  if (!payload) return std::nullopt;

  const auto& p = *payload;
  const bool indices_hold = p.receiver == view->outer.receiver && p.sender == view->sender;
  const bool no_session = p.receiver == 0 && p.sender == 0;
  const bool session =
      p.receiver == index_ && p.sender != 0 && p.send_lanes > 0 && p.receive_lanes > 0;
  if (!indices_hold || p.zeros != 0 || p.address >> 48 != 0 || !(no_session || session)) {
    write_hello();
    return std::nullopt;
  }
  Welcome out{p, std::nullopt};
  if (session) out.keys = session_keys(noise_->split());
  return out;
}

}  // namespace sluice::agent
