// Signatures that verifiers disagree about, made at random from a seed: valid ones, damaged ones,
// and ones crafted from points of small and of mixed order, scalars beyond the group's order and
// other spellings of points. What is right is for libsodium to say.
#pragma once

#include <array>
#include <random>
#include <string>
#include <vector>

#include "crypto/identity.h"

namespace sluice::crypto::cases {

enum class Kind : unsigned {
  kValid,
  kSignatureBit,
  kMessageBit,
  kKeyBit,
  kScalarPlusOrder,
  kScalarHigh,
  kKeyMixedOrder,
  kRMixedOrder,
  kBothMixedOrder,
  kKeySmallOrder,
  kRSmallOrder,
  kKeyBeyondP,
  kRBeyondP,
  kUniform,  // all bytes of a part the same
  kRandomKey,
  kOffCurveAsBase,  // right if the key, which is no point, were the base point
  kRandomAll,
  kCount
};
inline constexpr size_t kKinds = static_cast<size_t>(Kind::kCount);

struct Case {
  Kind kind;
  int pool;  // the key's place in the pool, -1 if it is none of them
  PublicKey key;
  Buffer message;
  Signature signature;
};

class Maker {
 public:
  static constexpr size_t kPool = 32;

  explicit Maker(uint64_t seed);
  Case next() { return make(static_cast<Kind>(random_() % kKinds)); }
  Case make(Kind kind);
  // Keys of cases with a pool place; the second half are of mixed order.
  const PublicKey& pool_key(size_t i) const { return pool_[i].key; }

 private:
  using Scalar = ByteArray<32>;
  struct Signer {
    Scalar secret;
    PublicKey key;
    unsigned torsion = 0;  // the key has so many times a point of order 8 beside a B
  };
  Scalar random_scalar();
  Buffer random_message();
  ByteArray<32> torsion_point(bool not_identity);
  static ByteArray<32> torsion(unsigned n);
  static Scalar hash_of(const Case& c);  // SHA-512(R || A || M) modulo the order
  // S for R = r B (+ what `r_point` has beside it), under `signer`.
  Signature sign(const Signer& signer, Bytes message, const ByteArray<32>& r_point,
                 const Scalar& r) const;
  template <size_t N>
  void flip_bit(ByteArray<N>& b) {
    const size_t bit = random_() % (8 * N);
    b[bit / 8] = static_cast<uint8_t>(b[bit / 8] ^ 1u << bit % 8);
  }

  std::mt19937_64 random_;
  std::array<Signer, kPool> pool_;
};

// How often each kind was accepted and refused.
struct Tally {
  std::array<uint64_t, kKinds> accepted{}, refused{};
  void add(Kind kind, bool good) { ++(good ? accepted : refused)[static_cast<size_t>(kind)]; }
};

}  // namespace sluice::crypto::cases
