#include "bench/initiators.h"

#include <array>

#include "crypto/hash.h"
#include "crypto/noise_batch.h"

namespace sluice::bench {
namespace {

using crypto::NoiseHandshake;
using crypto::NoiseStep;

void begin(Initiator& a, const ByteArray<32>& relay_key, uint32_t index) {
  const size_t size = wire::kHelloTokens + wire::hello_payload_size(0) + wire::kTagSize;
  a.hello.assign(wire::kNoiseOffset + size + 2 * wire::kMacSize, 0);
  wire::write_outer(a.hello.data(), {uint8_t(wire::Type::kHello), wire::kProtocolVersion,
                                     static_cast<uint16_t>(size), 0, 0});
  store_le(a.hello.data() + sizeof(wire::OuterHeader), index);
  const auto prologue = wire::hello_prologue(a.hello);
  const crypto::Key256 no_psk;
  a.noise.emplace(crypto::NoiseConfig{crypto::NoisePattern::kIkPsk2, crypto::NoiseRole::kInitiator,
                                      prologue, &a.tunnel, relay_key, &no_psk});
}

void finish(Initiator& a, const ByteArray<32>& relay_key, uint64_t time_ms) {
  Buffer payload = wire::build_hello_payload(a.identity.public_key(), time_ms, 0, {},
                                             wire::hello_payload_size(0));
  const auto signature = a.identity.sign(crypto::kLabelHello, {a.noise->hash(), payload});
  payload.insert(payload.end(), signature.begin(), signature.end());
  a.noise->write_payload(payload, {a.hello.data() + wire::kNoiseOffset + wire::kHelloTokens,
                                   payload.size() + wire::kTagSize});
  const Bytes before = Bytes(a.hello).first(a.hello.size() - 2 * wire::kMacSize);
  const auto mac = crypto::blake2b_128(crypto::mac1_key(relay_key), {before});
  std::memcpy(a.hello.data() + before.size(), mac.data(), mac.size());
}

}  // namespace

void Initiator::use_cookie(const crypto::Cookie& cookie) {
  const Bytes before = Bytes(hello).first(hello.size() - wire::kMacSize);
  const auto mac = crypto::blake2b_128(cookie, {before});
  std::memcpy(hello.data() + before.size(), mac.data(), mac.size());
}

std::optional<crypto::Cookie> Initiator::read_retry(const ByteArray<32>& relay_key,
                                                    Bytes packet) const {
  const auto retry = wire::parse_retry(packet);
  if (!retry) return std::nullopt;
  const Bytes mac1 = Bytes(hello).subspan(hello.size() - 2 * wire::kMacSize, wire::kMacSize);
  crypto::Cookie cookie;
  if (!crypto::open_cookie(relay_key, retry->nonce, mac1, retry->sealed_cookie, cookie)) {
    return std::nullopt;
  }
  return cookie;
}

void Initiators::greet(std::span<Initiator* const> agents, uint32_t index, uint64_t time_ms) const {
  std::array<crypto::X25519KeyPair, 2 * kAtOnce> pairs;
  crypto::x25519_generate({pairs.data(), 2 * agents.size()});
  std::array<NoiseHandshake*, kAtOnce> noise;
  std::array<NoiseStep, kAtOnce> steps;
  for (size_t i = 0; i < agents.size(); ++i) {
    Initiator& a = *agents[i];
    a.tunnel = std::move(pairs[2 * i]);
    begin(a, relay_key_, index + static_cast<uint32_t>(i));
    a.noise->set_ephemeral(std::move(pairs[2 * i + 1]));
    noise[i] = &*a.noise;
    steps[i] = a.noise->start_write({a.hello.data() + wire::kNoiseOffset, wire::kHelloTokens});
  }
  crypto::finish_tokens({noise.data(), agents.size()}, steps);
  for (size_t i = 0; i < agents.size(); ++i) {
    if (steps[i] != NoiseStep::kDone) std::abort();  // the relay's key is degenerate
    finish(*agents[i], relay_key_, time_ms);
  }
}

void Initiators::read_welcomes(std::span<WelcomeJob> jobs) const {
  std::array<WelcomeJob*, kAtOnce> open;
  std::array<NoiseHandshake*, kAtOnce> noise;
  std::array<NoiseStep, kAtOnce> steps;
  size_t n = 0;
  for (WelcomeJob& job : jobs) {
    const auto view = wire::parse_welcome(job.packet);
    if (!view || !job.of->noise) continue;
    const auto mac =
        crypto::blake2b_128(crypto::mac1_key(job.of->tunnel.public_key), {view->before_mac1()});
    if (!crypto::equal_secret(mac, view->mac1())) continue;
    open[n] = &job;
    noise[n] = &*job.of->noise;
    steps[n] = noise[n]->start_read(view->noise().first(wire::kWelcomeTokens));
    ++n;
  }
  crypto::finish_tokens({noise.data(), n}, steps);
  for (size_t i = 0; i < n; ++i) {
    WelcomeJob& job = *open[i];
    const auto view = wire::parse_welcome(job.packet);
    if (steps[i] == NoiseStep::kDone &&
        noise[i]->read_payload(view->noise().subspan(wire::kWelcomeTokens),
                               {reinterpret_cast<uint8_t*>(&job.payload), sizeof job.payload}) &&
        job.payload.receiver != 0) {
      job.keys = noise[i]->split();
    }
    job.of->noise.reset();
  }
}

}  // namespace sluice::bench
