#include "bench/handshake_mill.h"

#include <array>

#include "bench/initiators.h"

namespace sluice::bench {

struct HandshakeMill::Agent {
  Initiator initiator;
  wire::HelloView hello;
  std::unique_ptr<crypto::PreparedKey> prepared;
};

HandshakeMill::HandshakeMill(size_t count)
    : relay_key_(crypto::X25519KeyPair::generate()), sodium_(nullptr) {
  const Initiators initiators(relay_key_.public_key);
  for (size_t i = 0; i < count; ++i) {
    auto agent = std::make_unique<Agent>();
    Initiator* const initiator = &agent->initiator;
    initiators.greet({&initiator, 1}, 1, 1);
    agent->hello = wire::parse_hello(initiator->hello).value();
    agents_.push_back(std::move(agent));
  }
}

HandshakeMill::~HandshakeMill() = default;

bool HandshakeMill::prepare() {
  crypto::Ed25519BatchVerifier maker;
  for (auto& agent : agents_) {
    auto key = std::make_unique<crypto::PreparedKey>();
    crypto::PreparedKey* const out = key.get();
    if (maker.prepare({&agent->initiator.identity.public_key(), 1}, {&out, 1}) != 1) return false;
    agent->prepared = std::move(key);
  }
  return true;
}

size_t HandshakeMill::answer(control::HandshakeBatch& batch, size_t at_once) {
  using State = control::Greeting::State;
  const ByteArray<sizeof(wire::WelcomePayload)> payload{};
  for (size_t from = 0; from < agents_.size(); from += at_once) {
    std::array<std::optional<control::Greeting>, control::HandshakeBatch::kMax> greetings;
    std::array<control::Greeting*, control::HandshakeBatch::kMax> asked{};
    const size_t n = std::min(at_once, agents_.size() - from);
    for (size_t i = 0; i < n; ++i) {
      asked[i] = &greetings[i].emplace();
      asked[i]->hello = agents_[from + i]->hello;
      asked[i]->relay_key = &relay_key_;
    }
    batch.open({asked.data(), n});
    for (size_t i = 0; i < n; ++i) {
      if (greetings[i]->state != State::kOpened) continue;
      greetings[i]->state = State::kAnswering;
      if (at_once > 1) greetings[i]->prepared = agents_[from + i]->prepared.get();
    }
    batch.answer({asked.data(), n});
    for (size_t i = 0; i < n; ++i) {
      if (greetings[i]->state != State::kAnswered) {
        ++failures_;
        continue;
      }
      ByteArray<payload.size() + wire::kTagSize> sealed;
      greetings[i]->noise->write_payload(payload, sealed);
      const crypto::NoiseKeys keys = greetings[i]->noise->split();
      failures_ += all_zero(keys.initiator_to_responder.view());
    }
  }
  return agents_.size();
}

size_t HandshakeMill::answer_together() {
  return answer(lanes_, control::HandshakeBatch::kMax);
}

size_t HandshakeMill::answer_one_by_one() {
  return answer(sodium_, 1);
}

}  // namespace sluice::bench
