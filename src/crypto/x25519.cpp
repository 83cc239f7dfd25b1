#include "crypto/x25519.h"

#include <sodium.h>

#include <atomic>

namespace sluice::crypto {
namespace {
std::atomic<uint64_t> operations{0};
}

X25519KeyPair X25519KeyPair::from_secret(const Key256& secret) noexcept {
  X25519KeyPair out;
  out.secret = secret.clone();
  operations.fetch_add(1, std::memory_order_relaxed);
  crypto_scalarmult_base(out.public_key.data(), out.secret.data());
  return out;
}

X25519KeyPair X25519KeyPair::generate() noexcept {
  Key256 secret;
  randombytes_buf(secret.data(), secret.size());
  return from_secret(secret);
}

X25519KeyPair X25519KeyPair::clone() const {
  X25519KeyPair out;
  out.secret = secret.clone();
  out.public_key = public_key;
  return out;
}

bool x25519(const Key256& secret, const ByteArray<32>& peer, Key256& out) noexcept {
  operations.fetch_add(1, std::memory_order_relaxed);
  return crypto_scalarmult(out.data(), secret.data(), peer.data()) == 0;
}

void count_x25519(uint64_t n) noexcept {
  operations.fetch_add(n, std::memory_order_relaxed);
}

uint64_t x25519_operations() noexcept {
  return operations.load(std::memory_order_relaxed);
}

}  // namespace sluice::crypto
