// Noise_IKpsk2_25519_AESGCM_SHA256 and Noise_KK_25519_AESGCM_SHA256 (Noise specification, revision
// 34), two messages each, without I/O, clock or allocation by message size. An object runs one
// handshake, on one thread. Messages are written and read in two halves, tokens then payload,
// because the protocol signs the handshake hash between them (wire.md §4).
#pragma once

#include <optional>

#include "base/bytes.h"
#include "crypto/aead.h"
#include "crypto/x25519.h"

namespace sluice::crypto {

enum class NoisePattern : uint8_t { kIkPsk2, kKk };
enum class NoiseRole : uint8_t { kInitiator, kResponder };
enum class NoiseStep : uint8_t { kDone, kNeedsDh, kFailed };

// One scalar multiplication that a handshake waits for; the keys stay in the handshake.
struct DhRequest {
  const Key256* secret;
  const ByteArray<32>* peer;
};

struct NoiseConfig {
  NoisePattern pattern;
  NoiseRole role;
  Bytes prologue;
  const X25519KeyPair* static_key = nullptr;
  // Known beforehand: the responder's for an IK initiator, the peer's for both sides of KK.
  std::optional<ByteArray<32>> remote_static;
  const Key256* psk = nullptr;  // IKpsk2 only
};

// Both directions' keys, initiator to responder first (Noise Split).
struct NoiseKeys {
  Key256 initiator_to_responder;
  Key256 responder_to_initiator;
  ByteArray<32> hash;  // the final handshake hash
};

class NoiseHandshake {
 public:
  explicit NoiseHandshake(const NoiseConfig& config);
  NoiseHandshake(NoiseHandshake&&) = default;
  NoiseHandshake& operator=(NoiseHandshake&&) = default;

  // Bytes of the tokens before the payload in the message that comes next.
  size_t token_size() const noexcept;

  // Writers: `out` has token_size(), then payload.size() + 16 bytes. False: a degenerate key.
  bool write_tokens(MutBytes out);
  void write_payload(Bytes payload, MutBytes out);

  // Readers: false is final; the object must be dropped.
  bool read_tokens(Bytes in);
  bool read_payload(Bytes in, MutBytes out);  // out: in.size() - 16

  // The same tokens for whoever multiplies for many handshakes at once: they run until one needs a
  // Diffie-Hellman, which `dh` names and whose result `resume` takes (never an all-zero one: then
  // the handshake must be dropped). `in` and `out` must outlive the last step. kFailed is final.
  NoiseStep start_write(MutBytes out);
  NoiseStep start_read(Bytes in);
  NoiseStep resume(const Key256& shared);
  DhRequest dh() const noexcept;

  const ByteArray<32>& hash() const noexcept { return h_; }
  const ByteArray<32>& remote_static() const noexcept { return rs_; }

  // After the second message.
  NoiseKeys split();

  // The ephemeral key to use instead of one generated here: published vectors, or many made at
  // once.
  void set_ephemeral(X25519KeyPair e) { fixed_e_ = std::move(e); }

 private:
  enum class Token : uint8_t { kE, kS, kEe, kEs, kSe, kSs, kPsk };
  std::span<const Token> tokens() const noexcept;
  NoiseStep run();
  bool finish(NoiseStep step);
  void write_token(Token t);
  bool read_token(Token t);
  void mix_hash(Bytes data);
  void mix_key(Bytes input);
  void mix_key_and_hash(Bytes input);
  void encrypt_and_hash(Bytes in, uint8_t* out);
  bool decrypt_and_hash(Bytes in, uint8_t* out);
  void next_nonce(uint8_t* nonce) noexcept;

  NoisePattern pattern_;
  NoiseRole role_;
  uint8_t message_ = 0;
  uint8_t token_ = 0;            // of the message under way
  const uint8_t* in_ = nullptr;  // what is read next, or
  uint8_t* out_ = nullptr;       // where is written next
  bool has_key_ = false;
  uint64_t n_ = 0;
  ByteArray<32> h_{};
  Key256 ck_;
  Key256 k_;
  X25519KeyPair s_;
  X25519KeyPair e_;
  std::optional<X25519KeyPair> fixed_e_;
  ByteArray<32> rs_{};
  ByteArray<32> re_{};
  Key256 psk_;
};

}  // namespace sluice::crypto
