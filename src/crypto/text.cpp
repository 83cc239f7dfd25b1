#include "crypto/text.h"

#include <sodium.h>

#include <algorithm>

namespace sluice::crypto {
namespace {

constexpr std::string_view kAlphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

std::string encode64(Bytes bytes, int variant) {
  std::string out(sodium_base64_encoded_len(bytes.size(), variant), '\0');
  sodium_bin2base64(out.data(), out.size(), bytes.data(), bytes.size(), variant);
  out.resize(out.size() - 1);
  return out;
}

std::optional<Buffer> decode64(std::string_view text, int variant) {
  Buffer out(text.size() / 4 * 3 + 3);
  size_t n = 0;
  const char* end = nullptr;
  if (sodium_base642bin(out.data(), out.size(), text.data(), text.size(), nullptr, &n, &end,
                        variant) != 0 ||
      end != text.data() + text.size()) {
    return std::nullopt;
  }
  out.resize(n);
  if (encode64(out, variant) != text) return std::nullopt;
  return out;
}

}  // namespace

std::string to_hex(Bytes bytes) {
  std::string out(bytes.size() * 2 + 1, '\0');
  sodium_bin2hex(out.data(), out.size(), bytes.data(), bytes.size());
  out.pop_back();
  return out;
}

std::optional<Buffer> from_hex(std::string_view text) {
  if (text.empty()) return Buffer{};
  if (text.size() % 2 != 0) return std::nullopt;
  Buffer out(text.size() / 2);
  size_t n = 0;
  const char* end = nullptr;
  if (sodium_hex2bin(out.data(), out.size(), text.data(), text.size(), nullptr, &n, &end) != 0 ||
      end != text.data() + text.size() || to_hex(out) != text) {
    return std::nullopt;
  }
  return out;
}

std::string to_base64(Bytes bytes) {
  return encode64(bytes, sodium_base64_VARIANT_ORIGINAL);
}
std::optional<Buffer> from_base64(std::string_view text) {
  return decode64(text, sodium_base64_VARIANT_ORIGINAL);
}
std::string to_base64url(Bytes bytes) {
  return encode64(bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}
std::optional<Buffer> from_base64url(std::string_view text) {
  return decode64(text, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

std::string to_base58(Bytes bytes) {
  size_t zeros = 0;
  while (zeros < bytes.size() && bytes[zeros] == 0) ++zeros;
  Buffer digits;  // little-endian base 58
  for (size_t i = zeros; i < bytes.size(); ++i) {
    uint32_t carry = bytes[i];
    for (auto& d : digits) {
      carry += uint32_t{d} << 8;
      d = static_cast<uint8_t>(carry % 58);
      carry /= 58;
    }
    for (; carry > 0; carry /= 58) digits.push_back(static_cast<uint8_t>(carry % 58));
  }
  std::string out(zeros, '1');
  for (auto it = digits.rbegin(); it != digits.rend(); ++it) out.push_back(kAlphabet[*it]);
  return out;
}

std::optional<Buffer> from_base58(std::string_view text, size_t max_size) {
  if (text.size() > max_size * 138 / 100 + 1) return std::nullopt;
  size_t zeros = 0;
  while (zeros < text.size() && text[zeros] == '1') ++zeros;
  Buffer bytes;  // little-endian
  for (size_t i = zeros; i < text.size(); ++i) {
    const size_t digit = kAlphabet.find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    uint32_t carry = static_cast<uint32_t>(digit);
    for (auto& b : bytes) {
      carry += uint32_t{b} * 58;
      b = static_cast<uint8_t>(carry);
      carry >>= 8;
    }
    for (; carry > 0; carry >>= 8) bytes.push_back(static_cast<uint8_t>(carry));
  }
  bytes.resize(bytes.size() + zeros, 0);
  std::reverse(bytes.begin(), bytes.end());
  if (bytes.size() > max_size) return std::nullopt;
  return bytes;
}

}  // namespace sluice::crypto
