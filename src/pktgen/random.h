// splitmix64: cheap numbers for orders and floods; nothing secret comes from them.
#pragma once

#include <cstdint>

namespace sluice::pktgen {

inline uint64_t next_random(uint64_t& state) noexcept {
  uint64_t z = (state += 0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace sluice::pktgen
