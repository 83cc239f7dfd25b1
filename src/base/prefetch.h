// Prefetches that the compiler keeps: g++ takes a function that only calls __builtin_prefetch for
// one without effect and deletes the call.
#pragma once

#include <cstdint>

namespace sluice {

// To the second level. One to the first would hold one of its few miss buffers until memory has
// answered: with 100,000 sessions that costs more than the second level's latency ever saves.
inline void prefetch(const void* p) noexcept {
  asm volatile("prefetcht1 %0" : : "m"(*static_cast<const uint8_t*>(p)));
}

// To be written: asks the other cores for the line at once, not for a copy first.
inline void prefetch_to_change(const void* p) noexcept {
  asm volatile("prefetchw %0" : : "m"(*static_cast<const uint8_t*>(p)));
}

}  // namespace sluice
