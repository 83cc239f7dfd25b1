// mac1 keys, cookies and their sealing in RETRY (wire.md §4). Pure functions, any thread.
#pragma once

#include "crypto/secret.h"

namespace sluice::crypto {

using Cookie = ByteArray<16>;

// BLAKE2b-256(`sluice-mac1/1` | the receiver's tunnel key).
ByteArray<32> mac1_key(const ByteArray<32>& receiver) noexcept;

// Keyed BLAKE2b-128(secret, source IP as 16 bytes, port).
Cookie make_cookie(const Key256& secret, const ByteArray<16>& ip, uint16_t port) noexcept;

// XChaCha20-Poly1305 under BLAKE2b-256(`sluice-cookie/1` | relay's tunnel key), AAD = HELLO's mac1.
ByteArray<32> seal_cookie(const ByteArray<32>& relay, const ByteArray<24>& nonce, Bytes mac1,
                          const Cookie& cookie) noexcept;
bool open_cookie(const ByteArray<32>& relay, Bytes nonce, Bytes mac1, Bytes sealed,
                 Cookie& out) noexcept;

}  // namespace sluice::crypto
