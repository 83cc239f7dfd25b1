// Ed25519 identities: signing under a label, the verification rule of wire.md §1, and did:key text.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include "crypto/secret.h"

namespace sluice::crypto {

using PublicKey = ByteArray<32>;
using Signature = ByteArray<64>;

// Signature labels, zero-padded to 32 bytes (wire.md §1).
inline constexpr auto kLabelHello = padded_label<32>("sluice-hello/1");
inline constexpr auto kLabelCall = padded_label<32>("sluice-call/1");
inline constexpr auto kLabelAccept = padded_label<32>("sluice-accept/1");
inline constexpr auto kLabelStatement = padded_label<32>("sluice-statement/1");
using Label = ByteArray<32>;

class Identity {
 public:
  static Identity generate();
  static Identity from_seed(const Key256& seed);

  const PublicKey& public_key() const { return public_key_; }
  Key256 seed() const;
  Signature sign(const Label& label, std::initializer_list<Bytes> parts) const;
  // For a key that signs one kind of message, of a format that is not ours.
  Signature sign_raw(Bytes message) const;

 private:
  PublicKey public_key_{};
  Secret<64> secret_;
};

// The whole verification rule, for one signature.
bool verify(const PublicKey& key, const Label& label, std::initializer_list<Bytes> parts,
            const Signature& signature) noexcept;
bool verify_raw(const PublicKey& key, Bytes message, const Signature& signature) noexcept;

// On the curve, canonical, not of small order, and inside the prime-order subgroup: what a key must
// be to be enrolled.
bool acceptable_identity(const PublicKey& key) noexcept;

// did:key:z6Mk… (multicodec 0xed01, base58btc).
std::string to_did(const PublicKey& key);
std::optional<PublicKey> parse_did(std::string_view text);

}  // namespace sluice::crypto
