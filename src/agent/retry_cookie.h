// Opens the cookie of a RETRY: XChaCha20-Poly1305 under BLAKE2b-256(`sluice-cookie/1` | relay's
// tunnel key), AAD = the HELLO's mac1 (wire.md §4). No state, any thread.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "wire/tunnel.h"

namespace sluice::agent {

using Cookie = ByteArray<wire::kCookieSize>;

std::optional<Cookie> open_cookie(const ByteArray<32>& relay_key, const wire::RetryView& retry,
                                  Bytes mac1);

// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03 §2). `sealed` ends in its tag; nonce 24 bytes;
// `out` has sealed.size() - 16 bytes, and is undefined when the answer is false.
bool xchacha20_poly1305_open(const ByteArray<32>& key, Bytes nonce, Bytes aad, Bytes sealed,
                             MutBytes out);

}  // namespace sluice::agent
