// Key material. Move-only, wiped on destruction and on move, without comparison or formatter.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sluice::crypto {

void wipe(void* p, size_t n) noexcept;
// Constant time in the bytes.
bool equal_secret(Bytes a, Bytes b) noexcept;
void random_bytes(MutBytes out) noexcept;
uint64_t random_u64() noexcept;

template <size_t N>
class Secret {
 public:
  Secret() noexcept : bytes_{} {}
  explicit Secret(const ByteArray<N>& bytes) noexcept : bytes_(bytes) {}
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.clear(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.clear();
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  bool operator==(const Secret&) const = delete;
  ~Secret() { clear(); }

  // A second owner has to be asked for by name.
  Secret clone() const { return Secret(bytes_); }
  void clear() noexcept { wipe(bytes_.data(), N); }
  uint8_t* data() noexcept { return bytes_.data(); }
  const uint8_t* data() const noexcept { return bytes_.data(); }
  Bytes view() const noexcept { return bytes_; }
  static constexpr size_t size() { return N; }

 private:
  ByteArray<N> bytes_;
};

using Key256 = Secret<32>;

// Call once per process before anything else of crypto/; false if libsodium cannot start.
bool init() noexcept;

}  // namespace sluice::crypto
