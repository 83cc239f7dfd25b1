// Bytes as text: hex and base64 (libsodium), base58btc. Decoders accept exactly what the encoders
// write: no white space, no missing padding, no second spelling of the same bytes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace sluice::crypto {

std::string to_hex(Bytes bytes);
std::optional<Buffer> from_hex(std::string_view text);

std::string to_base64(Bytes bytes);
std::optional<Buffer> from_base64(std::string_view text);

std::string to_base64url(Bytes bytes);  // no padding
std::optional<Buffer> from_base64url(std::string_view text);

std::string to_base58(Bytes bytes);
// Refuses text that would decode to more than `max_size` bytes (the decoder is quadratic).
std::optional<Buffer> from_base58(std::string_view text, size_t max_size);

}  // namespace sluice::crypto
