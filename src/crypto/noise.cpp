#include "crypto/noise.h"

#include <cstdlib>

#include "crypto/hash.h"

namespace sluice::crypto {
namespace {

constexpr size_t kDhLen = 32;

// HKDF of the Noise specification (section 4.3), up to three outputs.
struct HkdfOut {
  ByteArray<32> o1, o2, o3;
  ~HkdfOut() { wipe(this, sizeof *this); }
};

void noise_hkdf(const Key256& ck, Bytes input, int outputs, HkdfOut& out) {
  auto temp = hmac_sha256(ck.view(), {input});
  const HmacSha256 by_temp(temp);
  const uint8_t one = 1, two = 2, three = 3;
  out.o1 = by_temp.mac({Bytes(&one, 1)});
  out.o2 = by_temp.mac({out.o1, Bytes(&two, 1)});
  if (outputs == 3) out.o3 = by_temp.mac({out.o2, Bytes(&three, 1)});
  wipe(temp.data(), temp.size());
}

}  // namespace

NoiseHandshake::NoiseHandshake(const NoiseConfig& config)
    : pattern_(config.pattern), role_(config.role), s_(config.static_key->clone()) {
  const std::string_view name = pattern_ == NoisePattern::kIkPsk2
                                    ? "Noise_IKpsk2_25519_AESGCM_SHA256"
                                    : "Noise_KK_25519_AESGCM_SHA256";
  // A name of at most 32 bytes is padded, a longer one hashed; these are 32 and 28 bytes long.
  h_ = padded_label<32>(name);
  ck_ = Key256(h_);
  mix_hash(config.prologue);
  if (config.remote_static) rs_ = *config.remote_static;
  if (config.psk != nullptr) psk_ = config.psk->clone();

  const auto& initiator = role_ == NoiseRole::kInitiator ? s_.public_key : rs_;
  const auto& responder = role_ == NoiseRole::kInitiator ? rs_ : s_.public_key;
  if (pattern_ == NoisePattern::kKk) mix_hash(initiator);
  mix_hash(responder);
}

std::span<const NoiseHandshake::Token> NoiseHandshake::tokens() const noexcept {
  using T = Token;
  static constexpr T ik1[] = {T::kE, T::kEs, T::kS, T::kSs};
  static constexpr T ik2[] = {T::kE, T::kEe, T::kSe, T::kPsk};
  static constexpr T kk1[] = {T::kE, T::kEs, T::kSs};
  static constexpr T kk2[] = {T::kE, T::kEe, T::kSe};
  if (pattern_ == NoisePattern::kIkPsk2) {
    return message_ == 0 ? std::span<const T>(ik1) : std::span<const T>(ik2);
  }
  return message_ == 0 ? std::span<const T>(kk1) : std::span<const T>(kk2);
}

size_t NoiseHandshake::token_size() const noexcept {
  size_t n = 0;
  for (Token t : tokens()) {
    if (t == Token::kE) n += kDhLen;
    if (t == Token::kS) n += kDhLen + kTagSize;
  }
  return n;
}

DhRequest NoiseHandshake::dh() const noexcept {
  const bool initiator = role_ == NoiseRole::kInitiator;
  switch (tokens()[token_]) {
    case Token::kEe:
      return {&e_.secret, &re_};
    case Token::kSs:
      return {&s_.secret, &rs_};
    case Token::kEs:
      return initiator ? DhRequest{&e_.secret, &rs_} : DhRequest{&s_.secret, &re_};
    case Token::kSe:
      return initiator ? DhRequest{&s_.secret, &re_} : DhRequest{&e_.secret, &rs_};
    default:
      std::abort();
  }
}

void NoiseHandshake::write_token(Token t) {
  if (t == Token::kE) {
    if (fixed_e_) {
      e_ = std::move(*fixed_e_);
      fixed_e_.reset();
    } else {
      e_ = X25519KeyPair::generate();
    }
    std::memcpy(out_, e_.public_key.data(), kDhLen);
    mix_hash(e_.public_key);
    // In a psk pattern the ephemeral also goes into the chaining key (section 9.2).
    if (pattern_ == NoisePattern::kIkPsk2) mix_key(e_.public_key);
    out_ += kDhLen;
  } else if (t == Token::kS) {
    encrypt_and_hash(s_.public_key, out_);
    out_ += kDhLen + kTagSize;
  }
}

bool NoiseHandshake::read_token(Token t) {
  if (t == Token::kE) {
    re_ = take<32>(in_);
    mix_hash(re_);
    if (pattern_ == NoisePattern::kIkPsk2) mix_key(re_);
    in_ += kDhLen;
  } else if (t == Token::kS) {
    if (!decrypt_and_hash(Bytes(in_, kDhLen + kTagSize), rs_.data())) return false;
    in_ += kDhLen + kTagSize;
  }
  return true;
}

NoiseStep NoiseHandshake::run() {
  const auto all = tokens();
  for (; token_ < all.size(); ++token_) {
    const Token t = all[token_];
    if (t == Token::kPsk) {
      mix_key_and_hash(psk_.view());
    } else if (t != Token::kE && t != Token::kS) {
      return NoiseStep::kNeedsDh;
    } else if (out_ != nullptr) {
      write_token(t);
    } else if (!read_token(t)) {
      return NoiseStep::kFailed;
    }
  }
  return NoiseStep::kDone;
}

NoiseStep NoiseHandshake::start_write(MutBytes out) {
  token_ = 0;
  in_ = nullptr;
  out_ = out.data();
  return run();
}

NoiseStep NoiseHandshake::start_read(Bytes in) {
  if (in.size() < token_size()) return NoiseStep::kFailed;
  token_ = 0;
  in_ = in.data();
  out_ = nullptr;
  return run();
}

NoiseStep NoiseHandshake::resume(const Key256& shared) {
  mix_key(shared.view());
  ++token_;
  return run();
}

bool NoiseHandshake::finish(NoiseStep step) {
  while (step == NoiseStep::kNeedsDh) {
    const DhRequest r = dh();
    Key256 shared;
    step = x25519(*r.secret, *r.peer, shared) ? resume(shared) : NoiseStep::kFailed;
  }
  return step == NoiseStep::kDone;
}

bool NoiseHandshake::write_tokens(MutBytes out) {
  return finish(start_write(out));
}

bool NoiseHandshake::read_tokens(Bytes in) {
  return finish(start_read(in));
}

void NoiseHandshake::write_payload(Bytes payload, MutBytes out) {
  encrypt_and_hash(payload, out.data());
  ++message_;
}

bool NoiseHandshake::read_payload(Bytes in, MutBytes out) {
  if (!decrypt_and_hash(in, out.data())) return false;
  ++message_;
  return true;
}

NoiseKeys NoiseHandshake::split() {
  HkdfOut o;
  noise_hkdf(ck_, {}, 2, o);
  return NoiseKeys{Key256(o.o1), Key256(o.o2), h_};
}

void NoiseHandshake::mix_hash(Bytes data) {
  h_ = sha256({h_, data});
}

void NoiseHandshake::mix_key(Bytes input) {
  HkdfOut o;
  noise_hkdf(ck_, input, 2, o);
  ck_ = Key256(o.o1);
  k_ = Key256(o.o2);
  has_key_ = true;
  n_ = 0;
}

void NoiseHandshake::mix_key_and_hash(Bytes input) {
  HkdfOut o;
  noise_hkdf(ck_, input, 3, o);
  ck_ = Key256(o.o1);
  mix_hash(o.o2);
  k_ = Key256(o.o3);
  has_key_ = true;
  n_ = 0;
}

void NoiseHandshake::next_nonce(uint8_t* nonce) noexcept {
  std::memset(nonce, 0, 4);
  store_be64(nonce + 4, n_++);
}

void NoiseHandshake::encrypt_and_hash(Bytes in, uint8_t* out) {
  if (!has_key_) std::abort();  // neither pattern sends anything encrypted before a DH
  GcmKey key;
  aead().expand(k_.data(), key);
  uint8_t nonce[kNonceSize];
  next_nonce(nonce);
  aead().seal_appended(key, nonce, h_, in, out);
  wipe(&key, sizeof key);
  mix_hash(Bytes(out, in.size() + kTagSize));
}

bool NoiseHandshake::decrypt_and_hash(Bytes in, uint8_t* out) {
  if (!has_key_) std::abort();
  GcmKey key;
  aead().expand(k_.data(), key);
  uint8_t nonce[kNonceSize];
  next_nonce(nonce);
  const ByteArray<32> aad = h_;
  // The hash runs over the ciphertext, which an in-place opening would overwrite.
  const ByteArray<32> next = sha256({h_, in});
  const bool ok = aead().open_appended(key, nonce, aad, in, out);
  wipe(&key, sizeof key);
  if (ok) h_ = next;
  return ok;
}

}  // namespace sluice::crypto
