// Text that has secrets in it, written piece by piece into guarded memory: where it outgrows one
// buffer it moves to a larger one, and the old one is wiped. Move-only. Buffers of the usual size
// are wiped and kept for the thread's next text: guarded memory costs a dozen system calls each
// time.
#pragma once

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "crypto/secret.h"
#include "crypto/secret_buffer.h"

namespace sluice::crypto {

class SecretText {
 public:
  static constexpr size_t kUsual = 16'384;
  static constexpr size_t kMostKept = 32;  // of a thread

  // `room`: as much as is expected; growing copies.
  explicit SecretText(size_t room = 0) {
    if (room > 0) buffer_ = buffer_of(room);
  }
  SecretText(SecretText&& other) noexcept
      : buffer_(std::move(other.buffer_)),
        size_(std::exchange(other.size_, 0)),
        used_(std::exchange(other.used_, 0)) {}
  SecretText& operator=(SecretText&& other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(size_, other.size_);
    std::swap(used_, other.used_);
    return *this;
  }
  ~SecretText() { give_back(buffer_, used_); }

  SecretText& operator<<(std::string_view text) {
    std::copy(text.begin(), text.end(), extend(text.size()));
    return *this;
  }
  SecretText& operator<<(char c) { return *this << std::string_view(&c, 1); }
  // Everything but RFC 3986's unreserved characters as %XX; `digits`: sixteen, in either case.
  void append_percent_encoded(std::string_view text, std::string_view digits = "0123456789ABCDEF") {
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
      if (plain) {
        *this << c;
      } else {
        *this << '%' << digits[byte >> 4] << digits[byte & 15];
      }
    }
  }
  void append_base64(std::string_view bytes);
  // Of what is base64 in `text` from its beginning on; none of it where it is not.
  void append_from_base64(std::string_view text);
  // `n` more bytes, for the caller to fill; valid until more is written.
  char* extend(size_t n) {
    if (n > buffer_.size() - size_) {
      SecretBuffer larger = buffer_of(std::max(buffer_.size() * 2, size_ + n));
      std::copy_n(buffer_.data(), size_, larger.data());
      std::swap(buffer_, larger);
      give_back(larger, used_);
    }
    size_ += n;
    used_ = std::max(used_, size_);
    return reinterpret_cast<char*>(buffer_.data()) + size_ - n;
  }
  // Forgets all behind the first `size` bytes; they are overwritten, or wiped at the end.
  void cut(size_t size) { size_ = std::min(size, size_); }

  size_t size() const { return size_; }
  std::string_view view() const { return as_text(buffer_.view().first(size_)); }
  // Writable, for those who change it in place.
  MutBytes bytes() { return buffer_.bytes().first(size_); }
  SecretBuffer take() {
    buffer_.shrink(size_);
    size_ = used_ = 0;
    return std::exchange(buffer_, SecretBuffer());
  }

 private:
  static std::vector<SecretBuffer>& kept() {
    static thread_local std::vector<SecretBuffer> buffers;
    return buffers;
  }
  static SecretBuffer buffer_of(size_t room) {
    if (room > kUsual) return SecretBuffer(room);
    if (kept().empty()) return SecretBuffer(kUsual);
    SecretBuffer out = std::move(kept().back());
    kept().pop_back();
    return out;
  }
  static void give_back(SecretBuffer& buffer, size_t used) noexcept {
    if (buffer.size() != kUsual || kept().size() >= kMostKept) return;
    wipe(buffer.data(), used);
    kept().reserve(kMostKept);
    kept().push_back(std::move(buffer));
  }

  SecretBuffer buffer_;
  size_t size_ = 0;
  size_t used_ = 0;  // at most, since the buffer was clean
};

}  // namespace sluice::crypto
