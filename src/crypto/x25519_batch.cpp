#include "crypto/x25519_batch.h"

#include <sodium.h>

#include <algorithm>

#include "crypto/lanes/engine.h"

namespace sluice::crypto {
namespace {

using lanes::kMaxItems;

// Scalars and results, aligned, and gone afterwards.
struct Words {
  alignas(64) uint64_t w[kMaxItems][4];
  ~Words() { wipe(w, sizeof w); }
};

// What the back end leaves of scalars and of intermediate results in the stack below its caller.
constexpr size_t kStackUsed = 24 * 1024;

}  // namespace

void x25519_batch(std::span<X25519Job> jobs, const lanes::Engine* engine) noexcept {
  if (engine == nullptr) {
    for (X25519Job& job : jobs) {
      job.good = x25519(*job.secret, *job.peer, *job.out);
      if (!job.good) job.out->clear();
    }
    return;
  }
  for (size_t from = 0; from < jobs.size(); from += kMaxItems) {
    const auto part = jobs.subspan(from, std::min(jobs.size() - from, kMaxItems));
    Words scalar, peer, out;
    lanes::X25519Item items[kMaxItems];
    for (size_t i = 0; i < part.size(); ++i) {
      std::memcpy(scalar.w[i], part[i].secret->data(), 32);
      std::memcpy(peer.w[i], part[i].peer->data(), 32);
      items[i] = {scalar.w[i], peer.w[i], out.w[i]};
    }
    engine->x25519(items, part.size());
    for (size_t i = 0; i < part.size(); ++i) {
      std::memcpy(part[i].out->data(), out.w[i], 32);
      part[i].good = !all_zero(part[i].out->view());
    }
    count_x25519(part.size());
  }
  sodium_stackzero(kStackUsed);
}

void x25519_public_keys(std::span<X25519KeyPair> pairs, const lanes::Engine* engine) noexcept {
  if (engine == nullptr) {
    for (X25519KeyPair& pair : pairs) pair = X25519KeyPair::from_secret(pair.secret);
    return;
  }
  for (size_t from = 0; from < pairs.size(); from += kMaxItems) {
    const auto part = pairs.subspan(from, std::min(pairs.size() - from, kMaxItems));
    Words scalar, out;
    lanes::X25519Item items[kMaxItems];
    for (size_t i = 0; i < part.size(); ++i) {
      std::memcpy(scalar.w[i], part[i].secret.data(), 32);
      items[i] = {scalar.w[i], nullptr, out.w[i]};
    }
    engine->x25519_base(items, part.size());
    for (size_t i = 0; i < part.size(); ++i) {
      std::memcpy(part[i].public_key.data(), out.w[i], 32);
    }
    count_x25519(part.size());
  }
  sodium_stackzero(kStackUsed);
}

void x25519_generate(std::span<X25519KeyPair> out, const lanes::Engine* engine) noexcept {
  // As few questions to the system as it lets one ask: each costs more than the bytes.
  for (size_t from = 0; from < out.size(); from += kMaxItems) {
    const auto part = out.subspan(from, std::min(out.size() - from, kMaxItems));
    Words random;
    randombytes_buf(random.w, part.size() * 32);
    for (size_t i = 0; i < part.size(); ++i) std::memcpy(part[i].secret.data(), random.w[i], 32);
  }
  x25519_public_keys(out, engine);
}

}  // namespace sluice::crypto
