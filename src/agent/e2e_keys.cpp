#include "agent/e2e_keys.h"

namespace sluice::agent {
namespace {

using wire::E2eHeader;

ByteArray<crypto::kNonceSize> nonce_of(const uint8_t* header) {
  ByteArray<crypto::kNonceSize> out{};
  std::memcpy(out.data() + 4, header + offsetof(E2eHeader, counter), 8);
  return out;
}

ByteArray<wire::kE2eAad> aad_of(const Carrier& c, const uint8_t* header) {
  return wire::e2e_aad(header, c.frame, c.flags, c.call_id);
}

}  // namespace

E2eKeys::E2eKeys(crypto::NoiseKeys keys, crypto::NoiseRole role, uint32_t own_id, uint32_t peer_id,
                 uint64_t born_ms)
    : keys_(std::make_unique<Keys>()),
      role_(role),
      own_id_(own_id),
      peer_id_(peer_id),
      born_ms_(born_ms) {
  const bool initiator = role == crypto::NoiseRole::kInitiator;
  const auto& send = initiator ? keys.initiator_to_responder : keys.responder_to_initiator;
  const auto& receive = initiator ? keys.responder_to_initiator : keys.initiator_to_responder;
  crypto::aead().expand(send.data(), keys_->send);
  crypto::aead().expand(receive.data(), keys_->receive);
}

E2eKeys::~E2eKeys() {
  crypto::wipe(keys_.get(), sizeof(Keys));
}

void E2eKeys::seal(const Carrier& carrier, uint8_t kind, Bytes body, Buffer& out) {
  out.resize(wire::kE2eOverhead + 1 + body.size());
  store_le(out.data(), E2eHeader{uint8_t(wire::E2eType::kTransport), {}, peer_id_, sent_++});
  uint8_t* text = out.data() + sizeof(E2eHeader);
  text[0] = kind;
  if (!body.empty()) std::memcpy(text + 1, body.data(), body.size());
  crypto::aead().seal_appended(keys_->send, nonce_of(out.data()).data(),
                               aad_of(carrier, out.data()), {text, body.size() + 1}, text);
}

OpenVerdict E2eKeys::open(const Carrier& carrier, MutBytes message, MutBytes& plaintext) {
  const auto header = load_le<E2eHeader>(message.data());
  if (window_.check(header.counter) != fabric::ReplayVerdict::kFresh) return OpenVerdict::kReplay;
  const MutBytes sealed = message.subspan(sizeof header);
  if (!crypto::aead().open_appended(keys_->receive, nonce_of(message.data()).data(),
                                    aad_of(carrier, message.data()), sealed, sealed.data())) {
    return OpenVerdict::kBadTag;
  }
  bool highest = false;
  if (window_.commit(header.counter, highest) != fabric::ReplayVerdict::kFresh) {
    return OpenVerdict::kReplay;
  }
  ++received_;
  plaintext = sealed.first(sealed.size() - wire::kE2eTag);
  return OpenVerdict::kOk;
}

}  // namespace sluice::agent
