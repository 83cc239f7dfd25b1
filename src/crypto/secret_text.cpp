#include "crypto/secret_text.h"

#include <sodium.h>

namespace sluice::crypto {

void SecretText::append_base64(std::string_view bytes) {
  constexpr int kVariant = sodium_base64_VARIANT_ORIGINAL;
  const size_t size = sodium_base64_encoded_len(bytes.size(), kVariant);
  sodium_bin2base64(extend(size), size, as_bytes(bytes).data(), bytes.size(), kVariant);
  cut(size_ - 1);  // its NUL
}

void SecretText::append_from_base64(std::string_view text) {
  text = text.substr(0, text.find_last_not_of('=') + 1);
  const size_t room = text.size() / 4 * 3 + 3;
  size_t size = 0;
  const char* end = nullptr;
  const int rc =
      sodium_base642bin(reinterpret_cast<uint8_t*>(extend(room)), room, text.data(), text.size(),
                        nullptr, &size, &end, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
  cut(size_ - room + (rc == 0 ? size : 0));
}

}  // namespace sluice::crypto
