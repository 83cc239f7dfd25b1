#include "control/handshake_batch.h"

#include <array>

#include "crypto/noise_batch.h"

namespace sluice::control {
namespace {

using State = Greeting::State;
using crypto::NoiseStep;

}  // namespace

HandshakeBatch::HandshakeBatch(const crypto::lanes::Engine* engine)
    : engine_(engine), verifier_(engine) {}

void HandshakeBatch::open(std::span<Greeting* const> greetings) {
  std::array<NoiseStep, kMax> steps;
  std::array<crypto::NoiseHandshake*, kMax> noise;
  const crypto::Key256 no_psk;
  for (size_t i = 0; i < greetings.size(); ++i) {
    Greeting& g = *greetings[i];
    const auto prologue = wire::hello_prologue(g.hello.packet);
    g.noise.emplace(crypto::NoiseConfig{.pattern = crypto::NoisePattern::kIkPsk2,
                                        .role = crypto::NoiseRole::kResponder,
                                        .prologue = prologue,
                                        .static_key = g.relay_key,
                                        .remote_static = std::nullopt,
                                        .psk = &no_psk});
    noise[i] = &*g.noise;
    steps[i] = g.noise->start_read(g.hello.noise().first(wire::kHelloTokens));
  }
  crypto::finish_tokens({noise.data(), greetings.size()}, steps, engine_);
  for (size_t i = 0; i < greetings.size(); ++i) {
    Greeting& g = *greetings[i];
    g.state = State::kNoiseFailed;
    if (steps[i] != NoiseStep::kDone) continue;
    const ByteArray<32> hash = g.noise->hash();  // what the identity signed
    const Bytes sealed = g.hello.noise().subspan(wire::kHelloTokens);
    g.plain.resize(sealed.size() - crypto::kTagSize);
    if (!g.noise->read_payload(sealed, g.plain)) continue;
    const auto payload = wire::parse_hello_payload(g.plain);
    if (!payload) {
      g.state = State::kMalformed;
      continue;
    }
    g.payload = *payload;
    g.signed_message.assign(crypto::kLabelHello.begin(), crypto::kLabelHello.end());
    g.signed_message.insert(g.signed_message.end(), hash.begin(), hash.end());
    g.signed_message.insert(g.signed_message.end(), payload->signed_part.begin(),
                            payload->signed_part.end());
    g.state = State::kOpened;
  }
}

void HandshakeBatch::answer(std::span<Greeting* const> greetings) {
  std::array<crypto::VerifyJob, kMax> jobs;
  std::array<Greeting*, kMax> asked;
  size_t n = 0;
  for (Greeting* g : greetings) {
    if (g->state != State::kAnswering) continue;
    jobs[n] = {&g->payload.identity, g->signed_message, &g->payload.signature, g->prepared};
    asked[n++] = g;
  }
  const uint64_t good = verifier_.verify({jobs.data(), n});
  size_t answered = 0;
  for (size_t i = 0; i < n; ++i) {
    if (((good >> i) & 1) != 0) {
      asked[answered++] = asked[i];
    } else {
      asked[i]->state = State::kBadSignature;
    }
  }
  crypto::x25519_generate({ephemeral_.data(), answered}, engine_);
  std::array<NoiseStep, kMax> steps;
  std::array<crypto::NoiseHandshake*, kMax> noise;
  for (size_t i = 0; i < answered; ++i) {
    asked[i]->noise->set_ephemeral(std::move(ephemeral_[i]));
    noise[i] = &*asked[i]->noise;
    steps[i] = asked[i]->noise->start_write(asked[i]->tokens);
  }
  crypto::finish_tokens({noise.data(), answered}, steps, engine_);
  for (size_t i = 0; i < answered; ++i) {
    asked[i]->state = steps[i] == NoiseStep::kDone ? State::kAnswered : State::kNoiseFailed;
  }
}

}  // namespace sluice::control
