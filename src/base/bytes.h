// Byte views and unaligned loads and stores. The host is x86, so little-endian is a copy.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace sluice {

using Bytes = std::span<const uint8_t>;
using MutBytes = std::span<uint8_t>;
using Buffer = std::vector<uint8_t>;
template <size_t N>
using ByteArray = std::array<uint8_t, N>;

template <typename T>
inline T load_le(const void* p) noexcept {
  T v;
  std::memcpy(&v, p, sizeof(T));
  return v;
}

template <typename T>
inline void store_le(void* p, T v) noexcept {
  std::memcpy(p, &v, sizeof(T));
}

inline uint16_t load_be16(const void* p) noexcept {
  return __builtin_bswap16(load_le<uint16_t>(p));
}
inline uint32_t load_be32(const void* p) noexcept {
  return __builtin_bswap32(load_le<uint32_t>(p));
}
inline void store_be16(void* p, uint16_t v) noexcept {
  store_le(p, __builtin_bswap16(v));
}
inline void store_be32(void* p, uint32_t v) noexcept {
  store_le(p, __builtin_bswap32(v));
}
inline void store_be64(void* p, uint64_t v) noexcept {
  store_le(p, __builtin_bswap64(v));
}

inline bool all_zero(Bytes b) noexcept {
  uint8_t acc = 0;
  for (uint8_t v : b) acc |= v;
  return acc == 0;
}

inline Bytes as_bytes(std::string_view s) noexcept {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

// A wire record as it is sent; `value` outlives the view.
template <typename T>
inline Bytes bytes_of(const T& value) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const uint8_t*>(&value), sizeof value};
}

inline std::string_view as_text(Bytes b) noexcept {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

inline Buffer to_buffer(Bytes b) {
  return Buffer(b.begin(), b.end());
}

template <size_t N>
inline ByteArray<N> take(const uint8_t* p) noexcept {
  ByteArray<N> out;
  std::memcpy(out.data(), p, N);
  return out;
}

// A byte string zero-padded to N bytes: protocol labels (wire.md §1, §4).
template <size_t N>
constexpr ByteArray<N> padded_label(std::string_view text) {
  ByteArray<N> out{};
  for (size_t i = 0; i < text.size() && i < N; ++i) out[i] = static_cast<uint8_t>(text[i]);
  return out;
}

}  // namespace sluice
