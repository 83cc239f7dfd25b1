#include "crypto/sha512_batch.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/lanes/engine.h"

namespace sluice::crypto {
namespace {

void one_by_one(std::span<const Sha512Job> jobs) noexcept {
  for (const Sha512Job& job : jobs) {
    crypto_hash_sha512_state state;
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, job.head.data(), job.head.size());
    crypto_hash_sha512_update(&state, job.body.data(), job.body.size());
    crypto_hash_sha512_final(&state, job.digest->data());
  }
}

}  // namespace

void sha512_batch(std::span<const Sha512Job> jobs, const lanes::Engine* engine) noexcept {
  if (engine == nullptr) return one_by_one(jobs);
  for (size_t from = 0; from < jobs.size(); from += lanes::kLanes) {
    const size_t n = std::min(jobs.size() - from, lanes::kLanes);
    lanes::Sha512Input in[lanes::kLanes];
    uint64_t out[lanes::kLanes][8];
    for (size_t i = 0; i < lanes::kLanes; ++i) {
      const Sha512Job& job = jobs[from + (i < n ? i : 0)];
      in[i] = {job.head.data(), job.head.size(), job.body.data(), job.body.size()};
    }
    engine->sha512(in, out);
    for (size_t i = 0; i < n; ++i) std::memcpy(jobs[from + i].digest->data(), out[i], 64);
  }
}

}  // namespace sluice::crypto
