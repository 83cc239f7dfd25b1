#include "peer.h"

#include <sodium.h>

#include <algorithm>
#include <tuple>

namespace oracle {
namespace {

constexpr uint8_t kHello = 1;
constexpr uint8_t kWelcome = 2;
constexpr uint8_t kRetry = 3;
constexpr uint8_t kData = 4;
constexpr uint8_t kVersion = 1;

constexpr size_t kOuterSize = 16;
constexpr size_t kIndexSize = 4;
constexpr size_t kTagSize = 16;
constexpr size_t kMacSize = 16;
constexpr size_t kFrameHeaderSize = 16;
constexpr size_t kNoiseStart = kOuterSize + kIndexSize;
constexpr size_t kWelcomePayloadSize = 48;
constexpr size_t kRetryNonceSize = 24;
constexpr size_t kControlLimit = 1200;

constexpr std::string_view kNoiseName = "Noise_IKpsk2_25519_AESGCM_SHA256";

void require(bool condition, const char* what) {
  if (!condition) {
    throw std::runtime_error(what);
  }
}

void start_sodium() {
  require(sodium_init() >= 0, "libsodium does not start");
  require(crypto_aead_aes256gcm_is_available() == 1, "this CPU has no AES-GCM for libsodium");
}

template <typename Bytes>
void append(Buf& out, const Bytes& bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

template <typename Bytes>
Buf to_buf(const Bytes& bytes) {
  return Buf(bytes.begin(), bytes.end());
}

Buf slice(const Buf& in, size_t at, size_t size) {
  require(at <= in.size() && size <= in.size() - at, "slice beyond the buffer");
  return Buf(in.data() + at, in.data() + at + size);
}

bool all_zero(const Buf& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

Buf padded_label(std::string_view label) {
  Buf out = to_buf(label);
  require(out.size() <= 32, "label longer than 32 bytes");
  out.resize(32);
  return out;
}

Key sha256(const Buf& data) {
  Key out{};
  crypto_hash_sha256(out.data(), data.data(), data.size());
  return out;
}

Key hmac(const Key& key, const Buf& data) {
  Key out{};
  crypto_auth_hmacsha256(out.data(), data.data(), data.size(), key.data());
  return out;
}

// HKDF as Noise defines it: the info of the n-th output is empty.
std::array<Key, 3> noise_hkdf(const Key& chaining_key, const Buf& material) {
  const Key temp = hmac(chaining_key, material);
  std::array<Key, 3> out;
  Buf block;
  for (size_t i = 0; i < out.size(); ++i) {
    block.push_back(static_cast<uint8_t>(i + 1));
    out[i] = hmac(temp, block);
    block = to_buf(out[i]);
  }
  return out;
}

Buf blake2b(size_t size, const Buf& data, const Buf& key = {}) {
  Buf out(size);
  crypto_generichash(out.data(), size, data.data(), data.size(), key.data(), key.size());
  return out;
}

// The labels inside hashes are their bare bytes: §4 asks for padding only where it says so.
Buf labelled_key(std::string_view label, const Key& tunnel_key) {
  Buf in = to_buf(label);
  append(in, tunnel_key);
  return blake2b(32, in);
}

Buf mac1_of(const Key& receiver_tunnel_key, const Buf& before) {
  return blake2b(kMacSize, before, labelled_key("sluice-mac1/1", receiver_tunnel_key));
}

std::optional<Buf> dh(const Key& secret, const Key& point) {
  Buf out(32);
  if (crypto_scalarmult(out.data(), secret.data(), point.data()) != 0) {
    return std::nullopt;
  }
  return out;
}

Buf dh_or_throw(const Key& secret, const Key& point) {
  const auto out = dh(secret, point);
  require(out.has_value(), "X25519 with a point of small order");
  return *out;
}

Key public_of(const Key& secret) {
  Key out{};
  crypto_scalarmult_base(out.data(), secret.data());
  return out;
}

std::array<uint8_t, 12> noise_nonce(uint64_t n) {
  std::array<uint8_t, 12> out{};
  for (size_t i = 0; i < 8; ++i) {
    out[11 - i] = static_cast<uint8_t>(n >> (8 * i));
  }
  return out;
}

Key derived_secret(std::string_view what, uint8_t seed) {
  Buf in = to_buf(what);
  in.push_back(seed);
  const Buf hash = blake2b(32, in);
  Key out{};
  std::copy(hash.begin(), hash.end(), out.begin());
  return out;
}

struct Outer {
  uint8_t type;
  uint8_t version;
  uint16_t sealed_length;
  uint32_t receiver;
  uint64_t counter;
};

Buf outer_bytes(const Outer& outer) {
  Buf out{outer.type, outer.version};
  put_le(out, outer.sealed_length);
  put_le(out, outer.receiver);
  put_le(out, outer.counter);
  return out;
}

std::optional<Outer> read_outer(const Buf& packet, uint8_t type) {
  if (packet.size() < kOuterSize || packet[0] != type || packet[1] != kVersion) {
    return std::nullopt;
  }
  return Outer{packet[0], packet[1], get_le<uint16_t>(packet, 2), get_le<uint32_t>(packet, 4),
               get_le<uint64_t>(packet, 8)};
}

// Salt | the counter as on the wire (§3).
std::array<uint8_t, 12> data_nonce(const std::array<uint8_t, 4>& salt, const Buf& outer) {
  std::array<uint8_t, 12> out{};
  std::copy(salt.begin(), salt.end(), out.begin());
  std::copy(outer.begin() + 8, outer.begin() + 16, out.begin() + 4);
  return out;
}

Buf header_seal_aad(const Buf& outer, const Buf& opaque) {
  Buf aad = outer;
  // A rest under 16 bytes is malformed and can only be built; what its AAD is does not matter.
  Buf last(kTagSize);
  const size_t n = std::min(opaque.size(), last.size());
  std::copy(opaque.end() - static_cast<ptrdiff_t>(n), opaque.end(),
            last.end() - static_cast<ptrdiff_t>(n));
  append(aad, last);
  put_le(aad, static_cast<uint16_t>(kOuterSize + kTagSize + kFrameHeaderSize + opaque.size()));
  return aad;
}

// What §3's table says of each frame that a relay may send. Where the table's last column has no
// slash, all of it is the extension.
struct FrameRule {
  uint8_t flags_required;
  uint8_t flags_allowed;
  bool label_zero;
  bool call_id_zero;
  size_t extension_min;
  size_t extension_max;
  bool may_have_rest;
  bool may_be_header_sealed;
};

constexpr uint8_t kReply = 1;
constexpr uint8_t kCredentialed = 2;
constexpr size_t kAny = 65535;

constexpr std::array<FrameRule, 9> kFrameRules{{
    {0, 3, true, false, 0, 0, false, false},                   // KEEPALIVE
    {0, 0, false, true, 0, 0, true, true},                     // DATAGRAM
    {0, kCredentialed, false, false, 208, 208, false, false},  // CALL_OPEN
    {0, kReply, false, false, 0, 0, true, true},               // CALL_DATA
    {0, kReply, false, false, 16, 16, false, false},           // CALL_CLOSE
    {kReply, kReply, false, false, 96, 96, false, false},      // CALL_ACCEPT
    {0, 0, false, false, 24, 24, false, false},                // CALL_DENY
    {0, 0, true, false, 0, kControlLimit, false, false},       // CONTROL
    {0, 0, false, false, 8, kAny, false, false},               // CREDENTIAL
}};

bool reserved_bytes_ok(const Frame& f) {
  const Buf& e = f.extension;
  switch (f.frame) {
    case 0:
      return f.flags != 3;  // KEEPALIVE's flags are a value, 0 to 2
    case 4:
      return all_zero(slice(e, 2, 6));
    case 5:
      return all_zero(slice(e, 18, 6));
    case 6:
      return all_zero(slice(e, 18, 2));
    case 8:
      return e[7] == 0 && e[4] < e[5];
    default:
      return true;
  }
}

bool well_formed(const Frame& f) {
  if (f.frame >= kFrameRules.size()) {
    return false;
  }
  const FrameRule& rule = kFrameRules[f.frame];
  const size_t extension = f.extension.size();
  return (f.flags & rule.flags_required) == rule.flags_required &&
         (f.flags & ~rule.flags_allowed) == 0 && !(rule.label_zero && f.label != 0) &&
         !(rule.call_id_zero && f.call_id != 0) && extension >= rule.extension_min &&
         extension <= rule.extension_max && (rule.may_have_rest || f.rest.empty()) &&
         (rule.may_be_header_sealed || !f.header_seal) && reserved_bytes_ok(f);
}

// Protobuf by hand. As proto3 has it, a field with its default value is left out.
void put_varint(Buf& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    out.push_back(static_cast<uint8_t>(value | 0x80));
  }
  out.push_back(static_cast<uint8_t>(value));
}

void put_number(Buf& out, uint32_t field, uint64_t value) {
  if (value != 0) {
    put_varint(out, field << 3);
    put_varint(out, value);
  }
}

template <typename Bytes>
void put_bytes(Buf& out, uint32_t field, const Bytes& bytes) {
  if (!bytes.empty()) {
    put_varint(out, (field << 3) | 2);
    put_varint(out, bytes.size());
    append(out, bytes);
  }
}

std::string base58(const Buf& bytes) {
  constexpr std::string_view kAlphabet =
      "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  std::vector<uint32_t> digits;  // little end first
  for (const uint8_t byte : bytes) {
    uint32_t carry = byte;
    for (uint32_t& digit : digits) {
      carry += digit << 8;
      digit = carry % 58;
      carry /= 58;
    }
    for (; carry != 0; carry /= 58) {
      digits.push_back(carry % 58);
    }
  }
  std::string out;
  for (size_t i = 0; i < bytes.size() && bytes[i] == 0; ++i) {
    out.push_back(kAlphabet[0]);
  }
  for (auto it = digits.rbegin(); it != digits.rend(); ++it) {
    out.push_back(kAlphabet[*it]);
  }
  return out;
}

}  // namespace

std::string base64(const Buf& bytes) {
  std::string out(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(out.data(), out.size(), bytes.data(), bytes.size(),
                    sodium_base64_VARIANT_ORIGINAL);
  out.pop_back();  // the terminating zero is counted
  return out;
}

SymmetricState::SymmetricState(std::string_view protocol_name) {
  start_sodium();
  if (protocol_name.size() <= hash_.size()) {
    std::copy(protocol_name.begin(), protocol_name.end(), hash_.begin());
  } else {
    hash_ = sha256(to_buf(protocol_name));
  }
  chaining_key_ = hash_;
}

void SymmetricState::mix_hash(const Buf& data) {
  Buf in = to_buf(hash_);
  append(in, data);
  hash_ = sha256(in);
}

void SymmetricState::mix_key(const Buf& material) {
  const auto out = noise_hkdf(chaining_key_, material);
  chaining_key_ = out[0];
  key_ = out[1];
  has_key_ = true;
  nonce_ = 0;
}

void SymmetricState::mix_key_and_hash(const Buf& material) {
  const auto out = noise_hkdf(chaining_key_, material);
  chaining_key_ = out[0];
  mix_hash(to_buf(out[1]));
  key_ = out[2];
  has_key_ = true;
  nonce_ = 0;
}

Buf SymmetricState::encrypt_and_hash(const Buf& plaintext) {
  Buf out = plaintext;
  if (has_key_) {
    out.resize(plaintext.size() + kTagSize);
    crypto_aead_aes256gcm_encrypt(out.data(), nullptr, plaintext.data(), plaintext.size(),
                                  hash_.data(), hash_.size(), nullptr, noise_nonce(nonce_++).data(),
                                  key_.data());
  }
  mix_hash(out);
  return out;
}

std::optional<Buf> SymmetricState::decrypt_and_hash(const Buf& ciphertext) {
  Buf out = ciphertext;
  if (has_key_) {
    if (ciphertext.size() < kTagSize) {
      return std::nullopt;
    }
    out.resize(ciphertext.size() - kTagSize);
    if (crypto_aead_aes256gcm_decrypt(out.data(), nullptr, nullptr, ciphertext.data(),
                                      ciphertext.size(), hash_.data(), hash_.size(),
                                      noise_nonce(nonce_).data(), key_.data()) != 0) {
      return std::nullopt;
    }
    ++nonce_;
  }
  mix_hash(ciphertext);
  return out;
}

std::pair<Key, Key> SymmetricState::split() const {
  const auto out = noise_hkdf(chaining_key_, {});
  return {out[0], out[1]};
}

Initiator::Initiator(const Key& static_secret, const Key& ephemeral_secret,
                     const Key& remote_public, const Buf& prologue, const Key& psk)
    : state_(kNoiseName),
      static_secret_(static_secret),
      ephemeral_secret_(ephemeral_secret),
      remote_public_(remote_public),
      psk_(psk) {
  state_.mix_hash(prologue);
  state_.mix_hash(to_buf(remote_public_));
}

Buf Initiator::write_e_and_s() {
  Buf out = to_buf(public_of(ephemeral_secret_));
  state_.mix_hash(out);
  state_.mix_key(out);  // patterns with a psk mix e's public key into the key too
  state_.mix_key(dh_or_throw(ephemeral_secret_, remote_public_));
  append(out, state_.encrypt_and_hash(to_buf(public_of(static_secret_))));
  state_.mix_key(dh_or_throw(static_secret_, remote_public_));
  return out;
}

Buf Initiator::write_payload(const Buf& payload) {
  return state_.encrypt_and_hash(payload);
}

std::optional<Buf> Initiator::read_message_2(const Buf& message) {
  if (message.size() < 32 + kTagSize) {
    return std::nullopt;
  }
  Key remote_ephemeral{};
  std::copy(message.begin(), message.begin() + 32, remote_ephemeral.begin());
  const auto ee = dh(ephemeral_secret_, remote_ephemeral);
  const auto se = dh(static_secret_, remote_ephemeral);
  if (!ee || !se) {
    return std::nullopt;
  }
  state_.mix_hash(to_buf(remote_ephemeral));
  state_.mix_key(to_buf(remote_ephemeral));
  state_.mix_key(*ee);
  state_.mix_key(*se);
  state_.mix_key_and_hash(to_buf(psk_));
  return state_.decrypt_and_hash(slice(message, 32, message.size() - 32));
}

Peer::Peer(uint8_t seed) {
  start_sodium();
  Key seed_bytes{};
  seed_bytes.fill(seed);
  crypto_sign_seed_keypair(identity_.data(), signing_secret_.data(), seed_bytes.data());
  tunnel_secret_ = derived_secret("oracle tunnel key", seed);
  tunnel_public_ = public_of(tunnel_secret_);
  e2e_secret_ = derived_secret("oracle end-to-end key", seed);
  e2e_public_ = public_of(e2e_secret_);
}

std::string Peer::did() const {
  Buf bytes{0xed, 0x01};
  append(bytes, identity_);
  return "did:key:z" + base58(bytes);
}

Buf Peer::sign(std::string_view label, const Buf& message) const {
  Buf in = padded_label(label);
  append(in, message);
  Buf signature(crypto_sign_BYTES);
  crypto_sign_detached(signature.data(), nullptr, in.data(), in.size(), signing_secret_.data());
  return signature;
}

Buf Peer::enrol_statement(const Key& relay_key, uint32_t tenant, std::string_view name,
                          uint64_t issued_ms) const {
  Buf enrol;  // visibility (2) stays private, which is 0 and so left out
  put_bytes(enrol, 1, name);
  put_bytes(enrol, 3, e2e_public_);

  Buf statement;
  put_number(statement, 1, 1);
  put_bytes(statement, 2, relay_key);
  put_number(statement, 3, tenant);
  put_number(statement, 4, issued_ms);
  put_bytes(statement, 20, enrol);

  Buf out;
  put_bytes(out, 1, statement);
  put_bytes(out, 2, identity_);
  put_bytes(out, 3, sign("sluice-statement/1", statement));
  return out;
}

Buf Peer::hello(const Key& relay_public, const HelloOptions& options) {
  // Outer, sender index, e, sealed s, the payload's tag, two macs; then what no payload lacks.
  constexpr size_t kAroundPayload = kNoiseStart + 32 + 48 + kTagSize + 2 * kMacSize;
  constexpr size_t kFixedPayload = 32 + 8 + 4 + 2 + 64;
  const size_t least = kAroundPayload + kFixedPayload + options.token.size();
  require(options.total >= least, "HELLO's total is too small for its parts");
  require(options.total <= 65507, "HELLO's total does not fit UDP");
  const size_t padding = options.total - least;
  require(padding > 0 || !options.nonzero_padding, "HELLO has no padding to spoil");

  const size_t noise_size = options.total - kNoiseStart - 2 * kMacSize;
  Buf packet = outer_bytes({kHello, options.version, static_cast<uint16_t>(noise_size),
                            options.receiver, options.counter});
  put_le(packet, options.sender_index);

  Buf prologue = padded_label("sluice/1");
  append(prologue, packet);
  Key ephemeral{};
  randombytes_buf(ephemeral.data(), ephemeral.size());
  Initiator noise(tunnel_secret_, ephemeral, relay_public, prologue, Key{});
  append(packet, noise.write_e_and_s());

  Buf payload = to_buf(identity_);
  put_le(payload, options.time_ms);
  put_le(payload, options.features);
  put_le(payload, static_cast<uint16_t>(options.token.size()));
  append(payload, options.token);
  payload.resize(payload.size() + padding);
  if (options.nonzero_padding) {
    payload.back() = 1;
  }
  // h after token s is still the hash here: token ss changes keys only.
  Buf to_sign = to_buf(noise.hash());
  append(to_sign, payload);
  Buf signature = sign("sluice-hello/1", to_sign);
  if (options.bad_signature) {
    signature[0] ^= 1;
  }
  append(payload, signature);
  append(packet, noise.write_payload(payload));
  if (options.corrupt_noise) {
    packet.back() ^= 1;
  }

  append(packet, mac1_of(relay_public, packet));
  if (options.bad_mac1) {
    packet.back() ^= 1;
  }
  append(packet, cookie_ ? blake2b(kMacSize, packet, *cookie_) : Buf(kMacSize));
  handshake_ = Handshake{noise, relay_public, options.sender_index, packet, std::nullopt};
  return packet;
}

Buf Peer::resend_with_cookie() const {
  require(handshake_.has_value() && cookie_.has_value(), "no HELLO or no cookie to resend with");
  Buf packet = handshake_->packet;
  packet.resize(packet.size() - kMacSize);
  append(packet, blake2b(kMacSize, packet, *cookie_));
  return packet;
}

bool Peer::read_retry(const Buf& packet) {
  const auto outer = read_outer(packet, kRetry);
  // §4 does not give RETRY's sealed length, so it is not looked at.
  if (!handshake_ || !outer || packet.size() != kOuterSize + kRetryNonceSize + 32 ||
      outer->receiver != handshake_->sender_index || outer->counter != 0) {
    return false;
  }
  const Buf key = labelled_key("sluice-cookie/1", handshake_->relay_public);
  const Buf mac1 = slice(handshake_->packet, handshake_->packet.size() - 2 * kMacSize, kMacSize);
  const Buf sealed = slice(packet, kOuterSize + kRetryNonceSize, 32);
  Buf cookie(16);
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(cookie.data(), nullptr, nullptr, sealed.data(),
                                                 sealed.size(), mac1.data(), mac1.size(),
                                                 packet.data() + kOuterSize, key.data()) != 0) {
    return false;
  }
  cookie_ = cookie;
  return true;
}

std::optional<Welcome> Peer::read_welcome(const Buf& packet) {
  const auto outer = read_outer(packet, kWelcome);
  if (!handshake_ || !outer || outer->counter != 0 ||
      packet.size() != kNoiseStart + outer->sealed_length + 2 * kMacSize ||
      packet.size() > handshake_->packet.size()) {
    return std::nullopt;
  }
  const size_t mac1_at = kNoiseStart + outer->sealed_length;
  if (slice(packet, mac1_at, kMacSize) != mac1_of(tunnel_public_, slice(packet, 0, mac1_at)) ||
      !all_zero(slice(packet, mac1_at + kMacSize, kMacSize))) {
    return std::nullopt;
  }

  // On a copy: a forged message must not spoil the handshake for the true one.
  Initiator noise = handshake_->noise;
  const auto p = noise.read_message_2(slice(packet, kNoiseStart, outer->sealed_length));
  if (!p || p->size() != kWelcomePayloadSize || !all_zero(slice(*p, 44, 4))) {
    return std::nullopt;
  }
  Welcome w;
  w.receiver_index = get_le<uint32_t>(*p, 0);
  w.sender_index = get_le<uint32_t>(*p, 4);
  w.address = get_le<uint64_t>(*p, 8);
  w.relay_time_ms = get_le<uint64_t>(*p, 16);
  w.relay_epoch = get_le<uint64_t>(*p, 24);
  w.trust_life_s = get_le<uint32_t>(*p, 32);
  w.features = get_le<uint32_t>(*p, 36);
  w.mtu = get_le<uint16_t>(*p, 40);
  w.send_lanes = (*p)[42];
  w.receive_lanes = (*p)[43];

  // The pairs are compared field by field. §4 says "receiver index 0" for a WELCOME without a
  // session, which can be read as either side's index: both are taken, has_session() is false.
  if (w.receiver_index != outer->receiver ||
      w.sender_index != get_le<uint32_t>(packet, kOuterSize) ||
      (w.receiver_index != handshake_->sender_index && w.receiver_index != 0) ||
      w.address >> 48 != 0) {
    return std::nullopt;
  }
  // A second session on the same keys would start its sequences, and so its nonces, over again.
  if (w.has_session() && handshake_->accepted != packet) {
    if (handshake_->accepted) {
      return std::nullopt;
    }
    sessions_.push_back(make_session(noise, w));
    current_ = sessions_.size() - 1;
    handshake_->accepted = packet;
  }
  return w;
}

Peer::Session Peer::make_session(const Initiator& noise, const Welcome& welcome) {
  Session s{};
  s.own_index = welcome.receiver_index;
  s.relay_index = welcome.sender_index;
  s.receive_lanes = welcome.receive_lanes;
  std::tie(s.send_key, s.receive_key) = noise.split();

  // HKDF-SHA256 (RFC 5869): no salt is a salt of zeros; 8 bytes need the first block only.
  Buf info = to_buf(std::string_view("sluice/1 salts"));
  info.push_back(1);
  const Key salts = hmac(hmac(Key{}, to_buf(noise.hash())), info);
  std::copy(salts.begin(), salts.begin() + 4, s.send_salt.begin());
  std::copy(salts.begin() + 4, salts.begin() + 8, s.receive_salt.begin());
  return s;
}

void Peer::use_session(size_t i) {
  require(i < sessions_.size(), "no such session");
  current_ = i;
}

Buf Peer::seal(uint8_t frame, uint8_t flags, uint32_t label, uint64_t call_id, const Buf& extension,
               const Buf& rest, const SealOptions& options) {
  require(current_ < sessions_.size(), "no session to seal in");
  require(!options.header_seal || !extension.empty() || !rest.empty(),
          "without a rest the header seal cannot be told from the full one");
  Session& session = sessions_[current_];

  Buf region{frame, flags};
  put_le(region, options.extension_length.value_or(static_cast<uint16_t>(extension.size())));
  put_le(region, label);
  put_le(region, call_id);
  Buf opaque;
  Buf& body = options.header_seal ? opaque : region;
  append(body, extension);
  append(body, rest);
  require(kOuterSize + kTagSize + region.size() + opaque.size() <= 65507, "DATA too long for UDP");

  const uint64_t seq = options.seq ? *options.seq : session.next_seq[options.lane]++;
  require(seq >> 56 == 0, "a sequence has 56 bits");
  const Buf outer = outer_bytes({kData, options.outer_version, static_cast<uint16_t>(region.size()),
                                 options.receiver.value_or(session.relay_index),
                                 static_cast<uint64_t>(options.lane) << 56 | seq});
  const Buf aad = options.header_seal ? header_seal_aad(outer, opaque) : outer;

  Buf sealed(region.size());
  Buf tag(kTagSize);
  crypto_aead_aes256gcm_encrypt_detached(
      sealed.data(), tag.data(), nullptr, region.data(), region.size(), aad.data(), aad.size(),
      nullptr, data_nonce(session.send_salt, outer).data(), session.send_key.data());
  if (options.corrupt_tag) {
    tag[0] ^= 1;
  }
  Buf packet = outer;
  append(packet, tag);
  append(packet, sealed);
  append(packet, opaque);
  return packet;
}

std::optional<Frame> Peer::open(const Buf& packet) const {
  for (auto session = sessions_.rbegin(); session != sessions_.rend(); ++session) {
    if (auto frame = open_in(*session, packet)) {
      return frame;
    }
  }
  return std::nullopt;
}

std::optional<Frame> Peer::open_in(const Session& session, const Buf& packet) {
  const auto outer = read_outer(packet, kData);
  constexpr size_t kRegionStart = kOuterSize + kTagSize;
  if (!outer || outer->receiver != session.own_index ||
      outer->counter >> 56 >= session.receive_lanes || outer->sealed_length < kFrameHeaderSize ||
      packet.size() < kRegionStart + outer->sealed_length) {
    return std::nullopt;
  }
  const Buf opaque = slice(packet, kRegionStart + outer->sealed_length,
                           packet.size() - kRegionStart - outer->sealed_length);
  const bool header_seal = !opaque.empty();
  if (header_seal && (outer->sealed_length != kFrameHeaderSize || opaque.size() < kTagSize)) {
    return std::nullopt;
  }

  const Buf outer_part = slice(packet, 0, kOuterSize);
  const Buf aad = header_seal ? header_seal_aad(outer_part, opaque) : outer_part;
  Buf plain(outer->sealed_length);
  if (crypto_aead_aes256gcm_decrypt_detached(
          plain.data(), nullptr, packet.data() + kRegionStart, plain.size(),
          packet.data() + kOuterSize, aad.data(), aad.size(),
          data_nonce(session.receive_salt, outer_part).data(), session.receive_key.data()) != 0) {
    return std::nullopt;
  }

  const size_t extension_size = get_le<uint16_t>(plain, 2);
  if (extension_size > plain.size() - kFrameHeaderSize) {
    return std::nullopt;
  }
  Frame f;
  f.frame = plain[0];
  f.flags = plain[1];
  f.label = get_le<uint32_t>(plain, 4);
  f.call_id = get_le<uint64_t>(plain, 8);
  f.extension = slice(plain, kFrameHeaderSize, extension_size);
  const size_t rest_at = kFrameHeaderSize + extension_size;
  f.rest = header_seal ? opaque : slice(plain, rest_at, plain.size() - rest_at);
  f.lane = static_cast<uint8_t>(outer->counter >> 56);
  f.seq = outer->counter & ((uint64_t{1} << 56) - 1);
  f.receiver = outer->receiver;
  f.header_seal = header_seal;
  f.raw_plaintext = plain;
  if (!well_formed(f)) {
    return std::nullopt;
  }
  return f;
}

}  // namespace oracle
