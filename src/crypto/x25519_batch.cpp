#include "crypto/x25519_batch.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/lanes/engine.h"

namespace sluice::crypto {
namespace {

constexpr size_t kLanes = lanes::kLanes;

// Word pointers of lanes that have no job: they read zeros and write here.
struct Spare {
  alignas(64) uint64_t zero[4] = {};
  alignas(64) uint64_t out[4] = {};
};

struct Words {
  alignas(64) uint64_t w[kLanes][4];
  ~Words() { wipe(w, sizeof w); }
};

// What the back end leaves of scalars and of intermediate results in the stack below its caller.
constexpr size_t kStackUsed = 16 * 1024;

}  // namespace

void x25519_batch(std::span<X25519Job> jobs, const lanes::Engine* engine) noexcept {
  if (engine == nullptr) {
    for (X25519Job& job : jobs) {
      job.good = x25519(*job.secret, *job.peer, *job.out);
      if (!job.good) job.out->clear();
    }
    return;
  }
  for (size_t from = 0; from < jobs.size(); from += kLanes) {
    const size_t n = std::min(jobs.size() - from, kLanes);
    Words scalar, peer, out;
    Spare spare;
    const uint64_t *scalars[kLanes], *peers[kLanes];
    uint64_t* outs[kLanes];
    for (size_t i = 0; i < kLanes; ++i) {
      scalars[i] = i < n ? scalar.w[i] : spare.zero;
      peers[i] = i < n ? peer.w[i] : spare.zero;
      outs[i] = i < n ? out.w[i] : spare.out;
      if (i >= n) continue;
      std::memcpy(scalar.w[i], jobs[from + i].secret->data(), 32);
      std::memcpy(peer.w[i], jobs[from + i].peer->data(), 32);
    }
    engine->x25519(scalars, peers, outs);
    for (size_t i = 0; i < n; ++i) {
      X25519Job& job = jobs[from + i];
      std::memcpy(job.out->data(), out.w[i], 32);
      job.good = !all_zero(job.out->view());
    }
    count_x25519(n);
  }
  sodium_stackzero(kStackUsed);
}

void x25519_public_keys(std::span<X25519KeyPair> pairs, const lanes::Engine* engine) noexcept {
  if (engine == nullptr) {
    for (X25519KeyPair& pair : pairs) pair = X25519KeyPair::from_secret(pair.secret);
    return;
  }
  for (size_t from = 0; from < pairs.size(); from += kLanes) {
    const size_t n = std::min(pairs.size() - from, kLanes);
    Words scalar, out;
    Spare spare;
    const uint64_t* scalars[kLanes];
    uint64_t* outs[kLanes];
    for (size_t i = 0; i < kLanes; ++i) {
      scalars[i] = i < n ? scalar.w[i] : spare.zero;
      outs[i] = i < n ? out.w[i] : spare.out;
      if (i < n) std::memcpy(scalar.w[i], pairs[from + i].secret.data(), 32);
    }
    engine->x25519_base(scalars, outs);
    for (size_t i = 0; i < n; ++i) std::memcpy(pairs[from + i].public_key.data(), out.w[i], 32);
    count_x25519(n);
  }
  sodium_stackzero(kStackUsed);
}

void x25519_generate(std::span<X25519KeyPair> out, const lanes::Engine* engine) noexcept {
  for (X25519KeyPair& pair : out) randombytes_buf(pair.secret.data(), pair.secret.size());
  x25519_public_keys(out, engine);
}

}  // namespace sluice::crypto
