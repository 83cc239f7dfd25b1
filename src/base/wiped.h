// Memory that is wiped when it is given back: for secrets on their way through somebody else's
// containers. They may still be swapped out or dumped meanwhile; where they stay is
// crypto/secret_buffer.h. No state, any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace sluice {

template <typename T>
struct WipingAllocator {
  using value_type = T;
  using is_always_equal = std::true_type;

  WipingAllocator() noexcept = default;
  template <typename U>
  WipingAllocator(const WipingAllocator<U>&) noexcept {}

  T* allocate(size_t n) { return std::allocator<T>().allocate(n); }
  void deallocate(T* p, size_t n) noexcept {
    explicit_bzero(p, n * sizeof(T));
    std::allocator<T>().deallocate(p, n);
  }
  template <typename U>
  bool operator==(const WipingAllocator<U>&) const noexcept {
    return true;
  }
};

using WipedBytes = std::vector<uint8_t, WipingAllocator<uint8_t>>;

}  // namespace sluice
