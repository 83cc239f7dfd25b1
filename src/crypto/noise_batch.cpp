#include "crypto/noise_batch.h"

#include <array>

namespace sluice::crypto {

void finish_tokens(std::span<NoiseHandshake* const> handshakes, std::span<NoiseStep> steps,
                   const lanes::Engine* engine) noexcept {
  std::array<Key256, kMostNoiseAtOnce> shared;
  for (;;) {
    std::array<X25519Job, kMostNoiseAtOnce> jobs;
    std::array<size_t, kMostNoiseAtOnce> of;
    size_t n = 0;
    for (size_t i = 0; i < handshakes.size(); ++i) {
      if (steps[i] != NoiseStep::kNeedsDh) continue;
      const DhRequest r = handshakes[i]->dh();
      jobs[n] = {r.secret, r.peer, &shared[n]};
      of[n++] = i;
    }
    if (n == 0) return;
    x25519_batch({jobs.data(), n}, engine);
    for (size_t k = 0; k < n; ++k) {
      steps[of[k]] = jobs[k].good ? handshakes[of[k]]->resume(shared[k]) : NoiseStep::kFailed;
      shared[k].clear();
    }
  }
}

}  // namespace sluice::crypto
