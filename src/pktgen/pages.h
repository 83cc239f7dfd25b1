// A zeroed array of its own pages, large ones where the kernel has them: 100,000 key schedules in
// 4 KB pages would measure the TLB of the generator. Wiped and unmapped with its owner.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <span>
#include <type_traits>

#include "crypto/secret.h"

namespace sluice::pktgen {

template <typename T>
class Pages {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  explicit Pages(size_t count) : count_(count) {
    void* p = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    madvise(p, bytes(), MADV_HUGEPAGE);
    data_ = static_cast<T*>(p);
    for (size_t i = 0; i < count_; ++i) new (data_ + i) T();
  }
  ~Pages() {
    crypto::wipe(data_, bytes());
    munmap(data_, bytes());
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  T& operator[](size_t i) noexcept { return data_[i]; }
  const T& operator[](size_t i) const noexcept { return data_[i]; }
  size_t size() const noexcept { return count_; }

 private:
  static constexpr size_t kAlign = size_t{2} << 20;
  size_t bytes() const { return (count_ * sizeof(T) + kAlign) / kAlign * kAlign; }
  size_t count_;
  T* data_ = nullptr;
};

}  // namespace sluice::pktgen
