#include "crypto/identity.h"

#include <sodium.h>

#include "crypto/text.h"

namespace sluice::crypto {
namespace {

Buffer joined(const Label& label, std::initializer_list<Bytes> parts) {
  Buffer out(label.begin(), label.end());
  for (Bytes p : parts) out.insert(out.end(), p.begin(), p.end());
  return out;
}

constexpr std::string_view kDidPrefix = "did:key:z";
constexpr uint8_t kMulticodecEd25519[2] = {0xed, 0x01};

}  // namespace

Identity Identity::from_seed(const Key256& seed) {
  Identity out;
  crypto_sign_seed_keypair(out.public_key_.data(), out.secret_.data(), seed.data());
  return out;
}

Identity Identity::generate() {
  Key256 seed;
  randombytes_buf(seed.data(), seed.size());
  return from_seed(seed);
}

Key256 Identity::seed() const {
  Key256 out;
  crypto_sign_ed25519_sk_to_seed(out.data(), secret_.data());
  return out;
}

Signature Identity::sign(const Label& label, std::initializer_list<Bytes> parts) const {
  return sign_raw(joined(label, parts));
}

Signature Identity::sign_raw(Bytes message) const {
  Signature out;
  crypto_sign_detached(out.data(), nullptr, message.data(), message.size(), secret_.data());
  return out;
}

bool verify(const PublicKey& key, const Label& label, std::initializer_list<Bytes> parts,
            const Signature& signature) noexcept {
  return verify_raw(key, joined(label, parts), signature);
}

bool verify_raw(const PublicKey& key, Bytes message, const Signature& signature) noexcept {
  return crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     key.data()) == 0;
}

bool acceptable_identity(const PublicKey& key) noexcept {
  return crypto_core_ed25519_is_valid_point(key.data()) == 1;
}

std::string to_did(const PublicKey& key) {
  Buffer raw(kMulticodecEd25519, kMulticodecEd25519 + 2);
  raw.insert(raw.end(), key.begin(), key.end());
  return std::string(kDidPrefix) + to_base58(raw);
}

std::optional<PublicKey> parse_did(std::string_view text) {
  if (!text.starts_with(kDidPrefix)) return std::nullopt;
  const auto raw = from_base58(text.substr(kDidPrefix.size()), 34);
  if (!raw || raw->size() != 34 || (*raw)[0] != kMulticodecEd25519[0] ||
      (*raw)[1] != kMulticodecEd25519[1]) {
    return std::nullopt;
  }
  return take<32>(raw->data() + 2);
}

}  // namespace sluice::crypto
