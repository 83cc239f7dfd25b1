#include "crypto/batch_engine.h"

#include <cstdlib>

#include "crypto/lanes/engine.h"

namespace sluice::crypto {
namespace {

bool has_ifma() noexcept {
  // The compiler's runtime asks XGETBV, too, whether the system saves the registers.
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vbmi2") &&
         __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("bmi2");
}

const lanes::Engine* choose() noexcept {
  const char* wanted = std::getenv("SLUICE_CRYPTO");
  if (wanted != nullptr && std::string_view(wanted) == "sodium") return nullptr;
  return ifma_engine_here();
}

}  // namespace

const lanes::Engine* ifma_engine_here() noexcept {
  static const bool can = has_ifma();
  return can ? &lanes::ifma_engine() : nullptr;
}

const lanes::Engine* batch_engine() noexcept {
  static const lanes::Engine* const engine = choose();
  return engine;
}

std::string_view name_of(const lanes::Engine* engine) noexcept {
  return engine == nullptr ? "sodium" : engine->name;
}

}  // namespace sluice::crypto
