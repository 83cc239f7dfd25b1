#include "crypto/secret_buffer.h"

#include <sodium.h>

#include <new>

#include "crypto/secret.h"

namespace sluice::crypto {

SecretBuffer::SecretBuffer(size_t size) : size_(size) {
  if (size == 0) return;
  data_ = static_cast<uint8_t*>(sodium_malloc(size));
  if (data_ == nullptr) throw std::bad_alloc();
  std::memset(data_, 0, size);
}

SecretBuffer::SecretBuffer(Bytes copied_from) : SecretBuffer(copied_from.size()) {
  if (size_ != 0) std::memcpy(data_, copied_from.data(), size_);
}

SecretBuffer::~SecretBuffer() {
  sodium_free(data_);
}

void SecretBuffer::shrink(size_t size) noexcept {
  if (size >= size_) return;
  wipe(data_ + size, size_ - size);
  size_ = size;
}

}  // namespace sluice::crypto
