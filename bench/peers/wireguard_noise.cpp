#include "bench/peers/wireguard_noise.h"

#include <ctime>
#include <stdexcept>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/params.h>

#include "crypto/secret.h"
#include "crypto/x25519.h"

namespace sluice::bench {
namespace {

constexpr std::string_view kConstruction = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
constexpr std::string_view kIdentifier = "WireGuard v1 zx2c4 Jason@zx2c4.com";
constexpr std::string_view kLabelMac1 = "mac1----";
constexpr uint8_t kInitiation = 1, kResponse = 2, kTransport = 4;
constexpr size_t kInitiationSize = 148, kResponseSize = 92, kMac = 16;

void must(bool good, const char* what) {
  if (!good) throw std::runtime_error(std::string("OpenSSL refuses ") + what);
}

Key32 blake2s(std::initializer_list<Bytes> parts) {
  Key32 out;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool good = EVP_DigestInit_ex(context, EVP_blake2s256(), nullptr) == 1;
  for (Bytes p : parts) good = good && EVP_DigestUpdate(context, p.data(), p.size()) == 1;
  good = good && EVP_DigestFinal_ex(context, out.data(), nullptr) == 1;
  EVP_MD_CTX_free(context);
  must(good, "BLAKE2s");
  return out;
}

ByteArray<kMac> keyed_blake2s(const Key32& key, Bytes data) {
  ByteArray<kMac> out;
  EVP_MAC* algorithm = EVP_MAC_fetch(nullptr, "BLAKE2SMAC", nullptr);
  must(algorithm != nullptr, "BLAKE2SMAC");
  EVP_MAC_CTX* context = EVP_MAC_CTX_new(algorithm);
  size_t size = kMac, written = 0;
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
                                   OSSL_PARAM_construct_end()};
  const bool good = EVP_MAC_init(context, key.data(), key.size(), parameters) == 1 &&
                    EVP_MAC_update(context, data.data(), data.size()) == 1 &&
                    EVP_MAC_final(context, out.data(), &written, out.size()) == 1;
  EVP_MAC_CTX_free(context);
  EVP_MAC_free(algorithm);
  must(good, "BLAKE2SMAC");
  return out;
}

Key32 hmac(const Key32& key, Bytes data) {
  Key32 out;
  must(HMAC(EVP_blake2s256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(),
            out.data(), nullptr) != nullptr,
       "HMAC");
  return out;
}

// The paper's KDF_n: as many keys as `out` has.
void kdf(const Key32& key, Bytes input, std::initializer_list<Key32*> out) {
  const Key32 secret = hmac(key, input);
  Buffer block;
  uint8_t number = 1;
  for (Key32* k : out) {
    block.push_back(number++);
    *k = hmac(secret, block);
    block.assign(k->begin(), k->end());
  }
}

Key32 shared(const Key32& secret, const Key32& peer) {
  crypto::Key256 out;
  if (!crypto::x25519(crypto::Key256(secret), peer, out)) {
    throw std::runtime_error("the hub's key is a degenerate point");
  }
  return take<32>(out.data());
}

ByteArray<12> tai64n() {
  timespec at{};
  clock_gettime(CLOCK_REALTIME, &at);
  ByteArray<12> out;
  store_be64(out.data(), (uint64_t{1} << 62) + 10 + static_cast<uint64_t>(at.tv_sec));
  store_be32(&out[8], static_cast<uint32_t>(at.tv_nsec));
  return out;
}

}  // namespace

WgKeyPair wg_key_pair(const Key32& secret) {
  const auto pair = crypto::X25519KeyPair::from_secret(crypto::Key256(secret));
  return {secret, pair.public_key};
}

void WgCipher::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

WgCipher::WgCipher(const Key32& key, bool seal) : context_(EVP_CIPHER_CTX_new()) {
  must(EVP_CipherInit_ex(context_.get(), EVP_chacha20_poly1305(), nullptr, key.data(), nullptr,
                         seal ? 1 : 0) == 1,
       "ChaCha20-Poly1305");
}

void WgCipher::seal(uint64_t nonce, Bytes aad, Bytes in, uint8_t* out) {
  ByteArray<12> iv{};
  store_le(&iv[4], nonce);
  int n = 0;
  auto* c = context_.get();
  const auto size = static_cast<int>(in.size());
  bool good = EVP_EncryptInit_ex(c, nullptr, nullptr, nullptr, iv.data()) == 1;
  if (!aad.empty()) {
    good = good && EVP_EncryptUpdate(c, nullptr, &n, aad.data(), static_cast<int>(aad.size())) == 1;
  }
  if (size > 0) good = good && EVP_EncryptUpdate(c, out, &n, in.data(), size) == 1;
  good = good && EVP_EncryptFinal_ex(c, out + size, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, kWgTag, out + size) == 1;
  must(good, "to encrypt");
}

bool WgCipher::open(uint64_t nonce, Bytes aad, Bytes in, uint8_t* out) {
  if (in.size() < kWgTag) return false;
  ByteArray<12> iv{};
  store_le(&iv[4], nonce);
  auto tag = take<kWgTag>(in.data() + in.size() - kWgTag);
  const auto size = static_cast<int>(in.size() - kWgTag);
  int n = 0;
  auto* c = context_.get();
  bool good = EVP_DecryptInit_ex(c, nullptr, nullptr, nullptr, iv.data()) == 1 &&
              EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, kWgTag, tag.data()) == 1;
  if (!aad.empty()) {
    good = good && EVP_DecryptUpdate(c, nullptr, &n, aad.data(), static_cast<int>(aad.size())) == 1;
  }
  if (size > 0) good = good && EVP_DecryptUpdate(c, out, &n, in.data(), size) == 1;
  uint8_t nothing[16];
  return good && EVP_DecryptFinal_ex(c, nothing, &n) == 1;
}

WgInitiator::WgInitiator(const WgKeyPair& own, const Key32& peer_public, uint32_t index)
    : own_(own), peer_public_(peer_public), index_(index) {}

void WgInitiator::mix_hash(Bytes data) {
  hash_ = blake2s({hash_, data});
}

Buffer WgInitiator::initiation() {
  Key32 secret;
  crypto::random_bytes(secret);
  ephemeral_ = wg_key_pair(secret);
  chain_ = blake2s({as_bytes(kConstruction)});
  hash_ = blake2s({chain_, as_bytes(kIdentifier)});
  mix_hash(peer_public_);

  Buffer out(kInitiationSize);
  out[0] = kInitiation;
  store_le(&out[4], index_);
  std::memcpy(&out[8], ephemeral_.public_key.data(), 32);
  kdf(chain_, ephemeral_.public_key, {&chain_});
  mix_hash(ephemeral_.public_key);
  Key32 key;
  kdf(chain_, shared(ephemeral_.secret, peer_public_), {&chain_, &key});
  WgCipher(key, true).seal(0, hash_, own_.public_key, &out[40]);
  mix_hash({&out[40], 48});
  kdf(chain_, shared(own_.secret, peer_public_), {&chain_, &key});
  WgCipher(key, true).seal(0, hash_, tai64n(), &out[88]);
  mix_hash({&out[88], 28});
  const auto mac1 = keyed_blake2s(blake2s({as_bytes(kLabelMac1), peer_public_}), {&out[0], 116});
  std::memcpy(&out[116], mac1.data(), kMac);
  return out;
}

bool WgInitiator::read_response(Bytes message) {
  if (message.size() != kResponseSize || message[0] != kResponse ||
      load_le<uint32_t>(&message[8]) != index_) {
    return false;
  }
  const auto ephemeral = take<32>(&message[12]);
  kdf(chain_, ephemeral, {&chain_});
  mix_hash(ephemeral);
  kdf(chain_, shared(ephemeral_.secret, ephemeral), {&chain_});
  kdf(chain_, shared(own_.secret, ephemeral), {&chain_});
  const Key32 no_psk{};
  Key32 tau, key;
  kdf(chain_, no_psk, {&chain_, &tau, &key});
  mix_hash(tau);
  uint8_t nothing[16];
  if (!WgCipher(key, false).open(0, hash_, message.subspan(44, kWgTag), nothing)) return false;
  Key32 send, receive;
  kdf(chain_, {}, {&send, &receive});
  send_ = std::make_unique<WgCipher>(send, true);
  receive_ = std::make_unique<WgCipher>(receive, false);
  peer_index_ = load_le<uint32_t>(&message[4]);
  return true;
}

size_t WgInitiator::seal(Bytes packet, uint8_t* out) {
  store_le(out, uint32_t{kTransport});
  store_le(out + 4, peer_index_);
  store_le(out + 8, sent_);
  send_->seal(sent_++, {}, packet, out + kWgHeader);
  return kWgHeader + packet.size() + kWgTag;
}

Bytes WgInitiator::open(MutBytes message) {
  if (message.size() < kWgHeader + kWgTag || message[0] != kTransport ||
      load_le<uint32_t>(&message[4]) != index_) {
    return {};
  }
  const auto nonce = load_le<uint64_t>(&message[8]);
  const MutBytes sealed = message.subspan(kWgHeader);
  if (!receive_->open(nonce, {}, sealed, sealed.data())) return {};
  return sealed.first(sealed.size() - kWgTag);
}

}  // namespace sluice::bench
