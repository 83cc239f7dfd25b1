// WireGuard's handshake and transport as an initiator sees them (wireguard.com/papers/wireguard.pdf
// §5.4), on OpenSSL, because libsodium has no BLAKE2s. For measurements only: no cookies, no
// rekeying, no replay window. One thread.
#pragma once

#include <memory>

#include "base/bytes.h"

struct evp_cipher_ctx_st;

namespace sluice::bench {

using Key32 = ByteArray<32>;

inline constexpr size_t kWgHeader = 16;
inline constexpr size_t kWgTag = 16;

struct WgKeyPair {
  Key32 secret{};
  Key32 public_key{};
};
WgKeyPair wg_key_pair(const Key32& secret);

// ChaCha20-Poly1305 with one key in one direction.
class WgCipher {
 public:
  WgCipher(const Key32& key, bool seal);
  // `out` gets text and tag, and may be `in`.
  void seal(uint64_t nonce, Bytes aad, Bytes in, uint8_t* out);
  // `in` ends in the tag; false if it does not hold.
  bool open(uint64_t nonce, Bytes aad, Bytes in, uint8_t* out);

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
};

class WgInitiator {
 public:
  WgInitiator(const WgKeyPair& own, const Key32& peer_public, uint32_t index);

  Buffer initiation();                // 148 bytes, fresh each time
  bool read_response(Bytes message);  // then the session stands

  // A transport message around `packet` into `out`; returns its size.
  size_t seal(Bytes packet, uint8_t* out);
  // The packet inside, in place; empty if it is not one for us.
  Bytes open(MutBytes message);

 private:
  void mix_hash(Bytes data);

  WgKeyPair own_;
  Key32 peer_public_;
  uint32_t index_;
  uint32_t peer_index_ = 0;
  WgKeyPair ephemeral_;
  Key32 hash_{};
  Key32 chain_{};
  std::unique_ptr<WgCipher> send_;
  std::unique_ptr<WgCipher> receive_;
  uint64_t sent_ = 0;
};

}  // namespace sluice::bench
