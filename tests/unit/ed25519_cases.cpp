#include "ed25519_cases.h"

#include <sodium.h>

namespace sluice::crypto::cases {
namespace {

// A point of order 8 (the others are its multiples), and every spelling of the y of all of them.
constexpr const char* kOrder8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
constexpr ByteArray<32> kOrder = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                                  0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                                  0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

ByteArray<32> order8() {
  ByteArray<32> out;
  sodium_hex2bin(out.data(), 32, kOrder8, 64, nullptr, nullptr, nullptr);
  return out;
}

ByteArray<32> plus(const ByteArray<32>& a, const ByteArray<32>& b) {
  ByteArray<32> out;
  if (crypto_core_ed25519_add(out.data(), a.data(), b.data()) != 0) std::abort();
  return out;
}

// a + b as plain 256-bit numbers.
ByteArray<32> plus_number(ByteArray<32> a, const ByteArray<32>& b) {
  unsigned carry = 0;
  for (size_t i = 0; i < 32; ++i) {
    carry += unsigned{a[i]} + b[i];
    a[i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  return a;
}

}  // namespace

Maker::Maker(uint64_t seed) : random_(seed) {
  for (size_t i = 0; i < kPool; ++i) {
    Signer& s = pool_[i];
    s.secret = random_scalar();
    crypto_scalarmult_ed25519_base_noclamp(s.key.data(), s.secret.data());
    if (i < kPool / 2) continue;
    s.torsion = 1 + static_cast<unsigned>(random_() % 7);
    s.key = plus(s.key, torsion(s.torsion));
  }
}

Maker::Scalar Maker::random_scalar() {
  ByteArray<64> wide;
  for (auto& b : wide) b = static_cast<uint8_t>(random_());
  Scalar out;
  crypto_core_ed25519_scalar_reduce(out.data(), wide.data());
  return out;
}

Buffer Maker::random_message() {
  // The hash's blocks end at 47 + 128 n bytes of message.
  static constexpr size_t kSizes[] = {0, 1, 46, 47, 48, 63, 64, 65, 174, 175, 176, 200, 303, 304};
  const size_t i = random_() % (2 * std::size(kSizes));
  Buffer out(i < std::size(kSizes) ? kSizes[i] : random_() % 700);
  for (auto& b : out) b = static_cast<uint8_t>(random_());
  return out;
}

ByteArray<32> Maker::torsion(unsigned n) {
  ByteArray<32> p{1};
  for (; n > 0; --n) p = plus(p, order8());
  return p;
}

ByteArray<32> Maker::torsion_point(bool not_identity) {
  return torsion(static_cast<unsigned>(not_identity ? 1 + random_() % 7 : random_() % 8));
}

Maker::Scalar Maker::hash_of(const Case& c) {
  crypto_hash_sha512_state state;
  crypto_hash_sha512_init(&state);
  crypto_hash_sha512_update(&state, c.signature.data(), 32);
  crypto_hash_sha512_update(&state, c.key.data(), 32);
  crypto_hash_sha512_update(&state, c.message.data(), c.message.size());
  ByteArray<64> digest;
  crypto_hash_sha512_final(&state, digest.data());
  Scalar h;
  crypto_core_ed25519_scalar_reduce(h.data(), digest.data());
  return h;
}

Signature Maker::sign(const Signer& signer, Bytes message, const ByteArray<32>& r_point,
                      const Scalar& r) const {
  Case c{Kind::kValid, -1, signer.key, to_buffer(message), {}};
  std::memcpy(c.signature.data(), r_point.data(), 32);
  const Scalar h = hash_of(c);
  Scalar product, s;
  crypto_core_ed25519_scalar_mul(product.data(), h.data(), signer.secret.data());
  crypto_core_ed25519_scalar_add(s.data(), product.data(), r.data());
  std::memcpy(c.signature.data() + 32, s.data(), 32);
  return c.signature;
}

Case Maker::make(Kind kind) {
  const bool mixed_key = kind == Kind::kKeyMixedOrder || kind == Kind::kBothMixedOrder;
  const size_t place = random_() % (kPool / 2) + (mixed_key ? kPool / 2 : 0);
  const Signer& signer = pool_[place];
  Case c{kind, static_cast<int>(place), signer.key, random_message(), {}};
  const Scalar r = random_scalar();
  ByteArray<32> r_point;
  crypto_scalarmult_ed25519_base_noclamp(r_point.data(), r.data());
  if (kind == Kind::kRMixedOrder || kind == Kind::kBothMixedOrder)
    r_point = plus(r_point, torsion_point(kind == Kind::kRMixedOrder));
  c.signature = sign(signer, c.message, r_point, r);

  const auto set_r = [&c](const ByteArray<32>& p) {
    std::memcpy(c.signature.data(), p.data(), 32);
  };
  const auto set_s = [&c](const ByteArray<32>& s) {
    std::memcpy(c.signature.data() + 32, s.data(), 32);
  };
  const auto set_key = [&c](const PublicKey& k) { c.key = k, c.pool = -1; };
  const auto random_bytes = [this] {
    ByteArray<32> b;
    for (auto& x : b) x = static_cast<uint8_t>(random_());
    return b;
  };
  // p - 1 to p + 18, with and without a sign.
  const auto beyond_p = [this] {
    ByteArray<32> b;
    b.fill(0xff);
    b[0] = static_cast<uint8_t>(0xec + random_() % 20);
    if (random_() % 2 == 0) b[31] = 0x7f;
    return b;
  };
  switch (kind) {
    case Kind::kSignatureBit:
      flip_bit(c.signature);
      break;
    case Kind::kMessageBit:
      if (c.message.empty()) c.message.push_back(0);
      c.message[random_() % c.message.size()] ^= static_cast<uint8_t>(1u << random_() % 8);
      break;
    case Kind::kKeyBit:
      flip_bit(c.key);
      c.pool = -1;
      break;
    case Kind::kScalarPlusOrder:
      set_s(plus_number(take<32>(c.signature.data() + 32), kOrder));
      break;
    case Kind::kScalarHigh: {
      ByteArray<32> s = random_() % 4 == 0 ? kOrder : random_bytes();
      if (random_() % 4 == 0) s = plus_number(kOrder, {static_cast<uint8_t>(random_() % 3)});
      if (random_() % 4 == 0) s[31] = static_cast<uint8_t>(0x10u | (s[31] & 0xfu));
      set_s(s);
      break;
    }
    case Kind::kKeySmallOrder: {
      PublicKey k = random_() % 2 == 0 ? torsion_point(false) : beyond_p();
      if (random_() % 2 == 0) k[31] ^= 0x80;
      set_key(k);
      // With A of small order, R = s B holds whenever h A vanishes.
      if (random_() % 2 == 0) {
        set_r(r_point);
        set_s(r);
      }
      break;
    }
    case Kind::kRSmallOrder: {
      ByteArray<32> p = torsion_point(false);
      if (random_() % 2 == 0) p[31] ^= 0x80;
      // r = 0: S = h a satisfies the equation where the point is the identity. Under a key a B + t
      // E it does for R = k E with h t + k = 0 modulo 8, E of order 8: messages are tried until
      // that holds.
      c.signature = sign(signer, c.message, p, Scalar{});
      if (random_() % 2 == 0) {
        const Signer& mixed = pool_[kPool / 2 + random_() % (kPool / 2)];
        c.pool = -1;
        c.key = mixed.key;
        const auto k = static_cast<unsigned>(random_() % 8);
        p = torsion(k);
        for (int tries = 0; tries < 64; ++tries) {
          c.message = random_message();
          c.signature = sign(mixed, c.message, p, Scalar{});
          if ((hash_of(c)[0] % 8 * mixed.torsion + k) % 8 == 0) break;
        }
      }
      break;
    }
    case Kind::kKeyBeyondP:
      set_key(beyond_p());
      break;
    case Kind::kRBeyondP:
      set_r(beyond_p());
      break;
    case Kind::kUniform: {
      ByteArray<32> b;
      b.fill(random_() % 2 == 0 ? 0x00 : 0xff);
      switch (random_() % 4) {
        case 0:
          set_r(b);
          break;
        case 1:
          set_s(b);
          break;
        case 2:
          set_key(b);
          break;
        default:
          set_r(b), set_s(b), set_key(b);
      }
      break;
    }
    case Kind::kRandomKey:
      set_key(random_bytes());
      break;
    case Kind::kOffCurveAsBase: {
      // The back end works on the base point where a key is no point.
      Signer nobody{{1}, {}, 0};
      do {
        nobody.key = random_bytes();
      } while (crypto_core_ed25519_add(r_point.data(), nobody.key.data(), nobody.key.data()) == 0);
      crypto_scalarmult_ed25519_base_noclamp(r_point.data(), r.data());
      set_key(nobody.key);
      c.signature = sign(nobody, c.message, r_point, r);
      break;
    }
    case Kind::kRandomAll:
      set_key(random_bytes());
      set_r(random_bytes());
      set_s(random_scalar());
      break;
    default:
      break;
  }
  return c;
}

}  // namespace sluice::crypto::cases
