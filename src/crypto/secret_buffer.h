// Secret bytes whose size is known at run time, in memory of their own between guard pages: locked,
// kept out of core dumps, wiped when it goes (libsodium's sodium_malloc). Move-only; it costs four
// pages and some system calls, so never on a worker.
#pragma once

#include <utility>

#include "base/bytes.h"

namespace sluice::crypto {

class SecretBuffer {
 public:
  SecretBuffer() noexcept = default;
  // Zeros. Throws std::bad_alloc where the host does not let more memory be locked.
  explicit SecretBuffer(size_t size);
  explicit SecretBuffer(Bytes copied_from);
  SecretBuffer(SecretBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  SecretBuffer& operator=(SecretBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  SecretBuffer(const SecretBuffer&) = delete;
  SecretBuffer& operator=(const SecretBuffer&) = delete;
  bool operator==(const SecretBuffer&) const = delete;
  ~SecretBuffer();

  uint8_t* data() noexcept { return data_; }
  size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  Bytes view() const noexcept { return {data_, size_}; }
  MutBytes bytes() noexcept { return {data_, size_}; }
  // Wipes what is behind the first `size` bytes; never more than there are.
  void shrink(size_t size) noexcept;

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace sluice::crypto
