// X25519 on poisoned scalars under valgrind's memcheck: it reports every branch and every address
// that depends on them. memcheck knows no AVX-512, so the portable back end runs the same formulas;
// what the compiler made of them for AVX-512 is looked at by tests/check_lanes.py.
// `constant_time --leak` branches on a scalar's bit on purpose: memcheck must report that.
#include <cstdio>
#include <cstring>
#include <string_view>

#include <valgrind/memcheck.h>

#include "crypto/lanes/engine.h"

using namespace sluice::crypto::lanes;

int main(int argc, char** argv) {
  const bool leak = argc > 1 && std::string_view(argv[1]) == "--leak";
  if (RUNNING_ON_VALGRIND == 0) {
    std::puts("constant_time: needs valgrind around it");
    return 1;
  }
  uint64_t scalars[9][4], u[9][4], out[9][4];
  for (uint64_t i = 0; i < 9; ++i) {
    for (uint64_t k = 0; k < 4; ++k) {
      scalars[i][k] = 0x9e3779b97f4a7c15u * (4 * i + k + 1);
      u[i][k] = 0xbf58476d1ce4e5b9u * (4 * i + k + 1);
    }
  }
  std::memset(u[3], 0, sizeof u[3]);  // a point of low order among them
  const Engine& engine = portable_engine();
  X25519Item items[9];
  for (int i = 0; i < 9; ++i) items[i] = {scalars[i], u[i], out[i]};
  engine.x25519_base(items, 1);  // builds its table, from nothing secret
  VALGRIND_MAKE_MEM_UNDEFINED(scalars, sizeof scalars);
  engine.x25519(items, 9);
  uint64_t sum = 0;
  for (const auto& words : out) sum += words[0];
  engine.x25519_base(items, 9);
  for (const auto& words : out) sum += words[0];
  if (leak && (scalars[0][0] & 1) != 0) std::puts("leaked");
  VALGRIND_MAKE_MEM_DEFINED(&sum, sizeof sum);
  std::printf("constant_time: back end %s, 18 multiplications, %llx\n", engine.name,
              static_cast<unsigned long long>(sum));
  return 0;
}
