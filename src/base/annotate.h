// Tells ThreadSanitizer that memory changes hands where it cannot see it: DPDK's drivers and
// mempools are not instrumented, and a producer of its multi-producer rings publishes what another
// one wrote behind a relaxed load, which x86 orders and C++ does not. No code in other builds.
#pragma once

#if defined(__has_feature)  // clang
#if __has_feature(thread_sanitizer)
#define SLUICE_TSAN 1
#elif __has_feature(address_sanitizer)
#define SLUICE_ASAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define SLUICE_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define SLUICE_ASAN 1
#endif

#ifdef SLUICE_TSAN
extern "C" {
void __tsan_acquire(void* p);
void __tsan_release(void* p);
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#endif

namespace sluice {

#ifdef SLUICE_TSAN
inline void given_away(void* p) noexcept {
  __tsan_release(p);
}
inline void taken_over(void* p) noexcept {
  __tsan_acquire(p);
}
// While it lives, this thread touches a ring's or a pool's own memory, which is not checked.
struct InsideRing {
  InsideRing() noexcept {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~InsideRing() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
};
#else
inline void given_away(void*) noexcept {}
inline void taken_over(void*) noexcept {}
struct InsideRing {
  InsideRing() noexcept {}
};
#endif

}  // namespace sluice
